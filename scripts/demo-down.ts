/** Ends a kept demo: its process first, so that nothing is made anew, then whatever is left of its hosts. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { Lab } from "../test/lab/lab.ts";
import { isAlive, signalProcess } from "../test/lab/proc-table.ts";
import { waitFor } from "../test/lab/process.ts";
import { DEMO_DIRECTORY, DEMO_STATE } from "./demo-files.ts";
import type { DemoState } from "./demo-files.ts";

const HOLDER_TIMEOUT_MS = 15_000;

if (existsSync(DEMO_STATE)) {
  const { holder, directory } = JSON.parse(readFileSync(DEMO_STATE, "utf8")) as DemoState;
  signalProcess(holder, "SIGTERM");
  await waitFor("the demo to end", () => !isAlive(holder) || undefined, { timeoutMs: HOLDER_TIMEOUT_MS })
    .catch(() => signalProcess(holder, "SIGKILL"));
  if (existsSync(directory)) await Lab.destroy(directory);
  process.stdout.write("demo: removed\n");
}
rmSync(DEMO_DIRECTORY, { recursive: true, force: true });
