// Bundles the libraries of the page, and writes their versions, licences and checksums to vendor.json.
// Run it by `make vendor`. The same lock makes the same bytes.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");
const served = join(root, "src", "smsevents", "web", "static", "vendor");
const tested = join(root, "tests", "data", "axe");
const { dependencies, devDependencies } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));

const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");
const licenceOf = (name) => JSON.parse(readFileSync(join(here, "node_modules", name, "package.json"), "utf8")).license;

for (const folder of [served, tested]) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
}
mkdirSync(join(served, "LICENSES"));

const file = `preact-htm-${dependencies.preact}-${dependencies.htm}.js`;
buildSync({
  entryPoints: [join(here, "entry.js")],
  outfile: join(served, file),
  bundle: true,
  format: "esm",
  legalComments: "none",
  minify: true,
  target: "es2022",
});
const libraries = Object.entries(dependencies).map(([name, version]) => {
  const licence = `LICENSES/${name}.txt`;
  copyFileSync(join(here, "node_modules", name, "LICENSE"), join(served, licence));
  return { name, version, licence: licenceOf(name), licenceFile: licence };
});
const list = { files: [{ name: file, sha256: sha256(join(served, file)) }], libraries };
writeFileSync(join(served, "vendor.json"), `${JSON.stringify(list, null, 2)}\n`);

// What checks the accessibility of the page, for the tests alone.
copyFileSync(join(here, "node_modules", "axe-core", "axe.min.js"), join(tested, "axe.min.js"));
copyFileSync(join(here, "node_modules", "axe-core", "LICENSE"), join(tested, "LICENSE"));
const axe = { name: "axe-core", version: devDependencies["axe-core"], licence: licenceOf("axe-core") };
writeFileSync(
  join(tested, "vendor.json"),
  `${JSON.stringify({ ...axe, sha256: sha256(join(tested, "axe.min.js")) }, null, 2)}\n`,
);
