// Khronos' glTF validator over files: one JSON report per file on standard output, in the order given.
import { readFile } from 'node:fs/promises';
import { validateBytes, version } from 'gltf-validator';

const reports = [];
for (const path of process.argv.slice(2)) {
  const bytes = new Uint8Array(await readFile(path));
  const report = await validateBytes(bytes, { uri: path, maxIssues: 0, writeTimestamp: false });
  reports.push({ validator: version(), ...report });
}
console.log(JSON.stringify(reports));
