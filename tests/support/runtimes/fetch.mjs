// Imports a file, then writes an export to standard output, with fetch: the body is streamed, so it has no length.
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";

const [base, key, file] = process.argv.slice(2);
const headers = { "X-Api-Key": key };
const body = Readable.toWeb(createReadStream(file));
const imported = await fetch(`${base}/import-sms-events`, { method: "POST", headers, body, duplex: "half" });
console.error(imported.status, await imported.text());
const exported = await fetch(`${base}/export-sms-events`, { method: "POST", headers, body: "{}" });
console.error(exported.status);
process.stdout.write(Buffer.from(await exported.arrayBuffer()));
