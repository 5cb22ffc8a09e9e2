/** Wiring only: every collaborator is made here, passed down, and closed in reverse order. */
import { systemClock } from "../lib/clock.ts";
import { runProgram, signalled } from "../lib/config.ts";
import { createLog } from "../lib/log.ts";
import { systemRandom } from "../lib/random.ts";
import { assemble } from "./assemble.ts";
import { ExportDirectory } from "./audit/export.ts";
import { readConfig, secretKeyFile } from "./config.ts";
import { listenersOf } from "./listeners.ts";
import { openVault } from "./records/key-file.ts";
import { listenAll } from "./server.ts";
import { openStore } from "./store/open.ts";
import { advertised, openAuthority, openTrust } from "./trust.ts";

/** Calls under way may take this long after a signal to stop. */
const DRAIN_MS = 3_000;

await runProgram(async () => {
  const config = readConfig(process.argv.slice(2));
  const { leaseMs, watchBacklogBytesMax } = config;
  const log = createLog("drover-api-server", config.logLevel);
  const [clock, random] = [systemClock, systemRandom];
  const ended = signalled("SIGTERM", "SIGINT");
  const onFatal = (error: Error) => {
    log.fatal({ error }, "the store cannot be written");
    process.exit(1);
  };
  const onDataLoss = (error: Error) => log.error({ error }, "the store is damaged: nothing is written any more");
  await using store = await openStore(config.store, { clock, random, create: config.createStore ?? true, onFatal, onDataLoss, faults: config.faults });
  const authority = await openAuthority({ config, clock, random, log });
  const keyFile = secretKeyFile(config);
  const vault = keyFile === undefined ? undefined : await openVault({ store, path: keyFile, random });
  const { exportDirectory } = config.audit;
  const auditExports = exportDirectory === undefined ? undefined : new ExportDirectory(exportDirectory);
  let agentsAddress = "";
  await using assembly = await assemble({ store, clock, random, log, leaseMs, watchBacklogBytesMax, authority, vault, auditExports, agentsAddress: () => agentsAddress });
  const { parts } = assembly;
  const kept = authority && (await openTrust(authority, { config, clock, random, log }, { parts, signal: parts.stopping }));
  const listening = await listenAll(listenersOf(config, parts, kept?.trust), { ...assembly.server, limits: config.limits });
  const agents = listening.find(({ name }) => name === "agents");
  if (agents) agentsAddress = advertised(agents.address, agents.port);
  log.info({ store: store.identity }, "serving");
  log.info({ signal: await ended }, "stopping");
  const stopped = assembly.stop();
  await Promise.all(listening.map((each) => each.close(DRAIN_MS)));
  await Promise.all([stopped, kept?.running]);
});
