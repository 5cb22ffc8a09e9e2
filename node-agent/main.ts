/** Wiring only: every part is made here, passed down, and closed in reverse order. Guests outlive all of it. */
import { mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { connect } from "../lib/client.ts";
import { systemClock } from "../lib/clock.ts";
import { ConfigExit, runProgram, signalled } from "../lib/config.ts";
import { createLog } from "../lib/log.ts";
import { systemRandom } from "../lib/random.ts";
import { Agent } from "./agent.ts";
import { loadAgentConfig } from "./config.ts";
import { boundLog } from "./console/bound.ts";
import { migrationBlocker } from "./door/blocker.ts";
import { memoryUriAt, ProcessDoors } from "./door/doors.ts";
import { fileJournal } from "./event-journal.ts";
import { Host } from "./host.ts";
import { bootIdentity, lockStateDirectory, nodeUid, rememberedStore } from "./identity.ts";
import { hostBridges } from "./inventory/bridges.ts";
import { checkKvm } from "./inventory/canary.ts";
import { renewOver } from "./join/certificates.ts";
import { CurrentConnection } from "./join/current-connection.ts";
import { fingerprintsOf } from "./join/fingerprints.ts";
import { identityFiles, NoIdentity } from "./join/identity-files.ts";
import { QemuIdentity } from "./join/qemu-identity.ts";
import { IdentityUpkeep } from "./join/upkeep.ts";
import type { Hypervisor } from "./libvirt/hypervisor.ts";
import { libvirtHypervisor } from "./libvirt/libvirt-hypervisor.ts";
import { testDriverHypervisor } from "./libvirt/test-driver.ts";
import { isTestDriver } from "./libvirt/uri.ts";
import { fileEndings } from "./machine/endings.ts";
import { probeAddress } from "./preflight/probe.ts";
import { runCommand } from "./storage/command.ts";
import { hostStorage } from "./storage/host-storage.ts";

const clock = systemClock;
const random = systemRandom;

/** Where libvirt lets QEMU receive memory, unless qemu.conf says otherwise. */
const QEMU_MIGRATION_PORT = 49_152;

/** A silent link is to be noticed before the lease ends. */
const KEEPALIVE = { "grpc.keepalive_time_ms": 5_000, "grpc.keepalive_timeout_ms": 3_000 };

await runProgram(async () => {
  const config = loadAgentConfig();
  const log = createLog("node-agent", config.logLevel);
  const { stateDirectory } = config;
  mkdirSync(stateDirectory, { recursive: true, mode: 0o711 });
  using _lock = await lockStateDirectory(stateDirectory);
  const stopping = new AbortController();
  const { signal } = stopping;
  const boot = bootIdentity();

  const tls = identityFiles(stateDirectory).node;
  const dial = () => connect({ server: config.server, tls, options: KEEPALIVE });
  const upkeep = openIdentity({
    stateDirectory, clock, random, log,
    renew: (requests) => renewOver(calls, requests, { clock, signal }),
    changed: () => {
      calls.replace();
      tunnels.replace();
      void qemu.install().then(() => agent.poke());
    },
  });
  using calls = new CurrentConnection(dial);
  using tunnels = new CurrentConnection(dial);
  const storage = hostStorage({ stateDirectory, pools: config.pools, random });
  const hypervisor = hypervisorAt(config.libvirtUri, (fault) => log.warn({ fault }, "the libvirt driver"));
  const host = new Host({
    hypervisor, storage,
    allowEmulation: config.allowEmulation,
    checkKvm: (facts) => checkKvm({ ...facts, guest: config.canary, boot, stateDirectory, clock }),
  });
  const qemu = new QemuIdentity({ directory: config.migration?.qemuPkiDirectory, identity: () => upkeep.current, owner: () => host.qemuOwner(), log });
  const agent = new Agent({
    nodeUid: nodeUid(stateDirectory, random),
    boot, dial, calls, tunnels, host, storage,
    doors: (refused) => new ProcessDoors({ stateDirectory, tls, place: config.migration, libvirtUri: config.libvirtUri, clock, log, refused }),
    certificates: { look: () => upkeep.look(), install: () => qemu.install(), run: (until) => upkeep.run(until) },
    journal: fileJournal(join(stateDirectory, "events.journal")),
    endings: fileEndings(stateDirectory),
    store: rememberedStore(stateDirectory),
    settings: {
      reservedMemoryBytes: config.reservedMemory,
      allowEmulation: config.allowEmulation,
      get migrationBlocker() {
        return migrationBlocker({ certificate: tls.cert, migration: config.migration }) || qemu.fault;
      },
      migrationAddress: config.migration?.address ?? "",
      get migrationAuthorities() {
        return fingerprintsOf(upkeep.current.pem.migrationCa);
      },
    },
    probe: (address) => probeAddress({ address, port: config.migration?.ports?.first ?? QEMU_MIGRATION_PORT }, clock),
    bridges: hostBridges,
    hostname,
    memoryUri: config.migration && memoryUriAt(config.migration),
    quietMs: config.migration?.quietMs,
    boundLog: (path) => boundLog(path, runCommand),
    clock, random, log,
  });

  const running = agent.run(signal);
  const reason = await Promise.race([signalled("SIGTERM", "SIGINT"), running.then(() => "end")]);
  log.info({ reason }, "stopping; guests go on");
  stopping.abort(new Error("The agent stops"));
  await running;
});

function hypervisorAt(uri: string, report: (fault: string) => void): Hypervisor {
  const hypervisor = libvirtHypervisor({ uri, clock, random, report });
  return isTestDriver(uri) ? testDriverHypervisor(hypervisor) : hypervisor;
}

function openIdentity(options: ConstructorParameters<typeof IdentityUpkeep>[0]): IdentityUpkeep {
  try {
    return new IdentityUpkeep(options);
  } catch (error) {
    if (!(error instanceof NoIdentity)) throw error;
    throw new ConfigExit(1, `drover-node-agent: ${error.message}.
Have a token made: drover node token create NODE
and join with it on this host: drover-node-agent join SERVER:7445 TOKEN --config FILE`);
  }
}
