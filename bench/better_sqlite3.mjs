// A bare insert by better-sqlite3, told on standard input how many rows: one line of JSON in, the seconds of each transaction out.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.argv[2]}/`);
const Database = require("better-sqlite3");
const [, , , path, create, insert] = process.argv;
const database = new Database(path);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec(create);
const statement = database.prepare(insert);
const together = database.transaction((rows) => {
  for (const row of rows) statement.run(row);
});

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const seconds = [];
  for (const rows of JSON.parse(line)) {
    const start = process.hrtime.bigint();
    if (rows.length === 1) statement.run(rows[0]);
    else together(rows);
    seconds.push(Number(process.hrtime.bigint() - start) / 1e9);
  }
  console.log(JSON.stringify(seconds));
}
