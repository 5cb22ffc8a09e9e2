/**
 * A process to be killed: opens the store in its first argument and commits without end, several at a time, printing each
 * acknowledged one as `key number request`. Its second argument names this run, so that request ids never meet.
 */
import { writeSync } from "node:fs";
import { numberOf } from "../../api-server/store/revision.ts";
import { bytes, journal } from "./store-steps.ts";
import { openSqlite } from "./store-places.ts";

const [path, run] = process.argv.slice(2) as [string, string];
const onFatal = (error: Error) => {
  writeSync(1, `fatal ${error.message}\n`);
  process.exit(3);
};
const store = await openSqlite(path, { onFatal });
writeSync(1, "open\n");

async function write(client: number): Promise<never> {
  for (let index = 0; ; index++) {
    const key = `vm/${run}-${client}-${index}`;
    const entry = journal(`${run}-${client}-${index}`, { key });
    const { revision } = await store.commit({ key, expected: null, value: bytes(key.padEnd(2048, ".")), journal: entry });
    writeSync(1, `${key} ${numberOf(revision, store.identity.incarnation)} ${entry.requestId}\n`);
  }
}
await Promise.all([0, 1, 2, 3].map(write));
