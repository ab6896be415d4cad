// Imports a file, then writes an export to standard output, with node's http, over one connection that is kept.
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";

const [base, key, file] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function ask(path, body) {
  return new Promise((resolve, reject) => {
    const options = { method: "POST", agent, headers: { "X-Api-Key": key, Expect: "100-continue" } };
    const asked = request(base + path, options, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => (response.complete ? resolve([response.statusCode, Buffer.concat(parts)]) : reject()));
    });
    asked.on("error", reject);
    asked.on("continue", () => asked.end(body));
    asked.flushHeaders();
  });
}

const [importStatus, receipt] = await ask("/import-sms-events", readFileSync(file));
console.error(importStatus, receipt.toString());
const [exportStatus, events] = await ask("/export-sms-events", "{}");
console.error(exportStatus);
process.stdout.write(events, () => agent.destroy());
