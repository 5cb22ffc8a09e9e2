/** Wiring only: the process around the controller. */
import { hostname } from "node:os";
import { connect } from "../lib/client.ts";
import { systemClock } from "../lib/clock.ts";
import { runProgram, signalled } from "../lib/config.ts";
import { createLog } from "../lib/log.ts";
import { systemRandom } from "../lib/random.ts";
import { readConfig } from "./config.ts";
import { runController } from "./controller.ts";

await runProgram(async () => {
  const config = readConfig(process.argv.slice(2));
  const log = createLog("drover-controller", config.logLevel);
  // A write that was lost runs again through its key, on what the world is by then, so the channel repeats nothing.
  using connection = connect({ server: config.server, ...(config.tls && { tls: config.tls }), options: { "grpc.enable_retries": 0 } });
  const stop = new AbortController();
  const running = runController({ config, connection, name: `${hostname()}/${process.pid}`, clock: systemClock, random: systemRandom, log, signal: stop.signal });
  log.info({ server: config.server }, "started");
  const signal = await Promise.race([signalled("SIGTERM", "SIGINT"), running.then(() => undefined)]);
  log.info({ signal }, "stopping");
  stop.abort(new Error("The controller stops"));
  await running;
});
