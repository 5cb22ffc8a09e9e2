/** Wiring only: every part is made here, passed down, and closed in reverse order. Guests outlive all of it. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Command, CommandResult, Hello } from "../gen/drover/agent/v1/agent.ts";
import { connect } from "../lib/client.ts";
import { delay, every, systemClock } from "../lib/clock.ts";
import { ConfigExit, runProgram, signalled } from "../lib/config.ts";
import { createLog } from "../lib/log.ts";
import { systemRandom } from "../lib/random.ts";
import { loadAgentConfig } from "./config.ts";
import { boundLog } from "./console/bound.ts";
import { Tunnels } from "./console/tunnels.ts";
import { grpcControlPlane } from "./control-plane.ts";
import { describeDomain } from "./describe.ts";
import { migrationBlocker } from "./door/blocker.ts";
import { memoryUriAt, ProcessDoors } from "./door/doors.ts";
import { doorRefused } from "./door/event.ts";
import { fileJournal } from "./event-journal.ts";
import { Host } from "./host.ts";
import { bootIdentity, lockStateDirectory, nodeUid, rememberedStore } from "./identity.ts";
import { Inventory } from "./inventory/inventory.ts";
import { renewOver } from "./join/certificates.ts";
import { CurrentConnection } from "./join/current-connection.ts";
import { identityFiles, NoIdentity } from "./join/identity-files.ts";
import { QemuIdentity } from "./join/qemu-identity.ts";
import { IdentityUpkeep } from "./join/upkeep.ts";
import type { HypervisorEvent } from "./libvirt/hypervisor.ts";
import { fileEndings } from "./machine/endings.ts";
import { LeftoverVariables } from "./machine/leftover-variables.ts";
import { Machines } from "./machine/machines.ts";
import { Outbox } from "./outbox.ts";
import { NodeReporter } from "./report.ts";
import { PROTOCOL, runSessions } from "./session.ts";
import { runCommand } from "./storage/command.ts";
import { hostStorage } from "./storage/host-storage.ts";

const VERSION = "0.1.0";
const clock = systemClock;
const random = systemRandom;

const FIRST_LOOK_MS = 3_000;
const LOGS_EVERY_MS = 10_000;
const LEFTOVERS_EVERY_MS = 600_000;

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
  const uid = nodeUid(stateDirectory, random);
  const agentInstance = random.uuid();
  const store = rememberedStore(stateDirectory);
  let nodeName = "";

  const tls = identityFiles(stateDirectory).node;
  const dial = () => connect({ server: config.server, tls, options: KEEPALIVE });
  const upkeep = openIdentity({
    stateDirectory, clock, random, log,
    renew: (requests) => renewOver(calls, requests, { clock, signal }),
    changed: () => {
      calls.replace();
      tunnelConnection.replace();
      void qemu.install().then(() => reporter.poke());
    },
  });
  using calls = new CurrentConnection(dial);
  using tunnelConnection = new CurrentConnection(dial);
  const controlPlane = grpcControlPlane(calls, clock);
  const storage = hostStorage({ stateDirectory, pools: config.pools, random });
  const host = new Host({ config, boot, storage, clock, random, log });
  const { hypervisor } = host;
  const qemu = new QemuIdentity({ directory: config.migration?.qemuPkiDirectory, identity: () => upkeep.current, owner: () => host.qemuOwner(), log });
  const journal = fileJournal(join(stateDirectory, "events.journal"));
  const outbox = new Outbox({ controlPlane, journal, agentInstance, nodeName: () => nodeName, clock, random, log });
  const doors = new ProcessDoors({
    stateDirectory, tls, place: config.migration, libvirtUri: config.libvirtUri, clock, log,
    refused: (refusal) => outbox.record({ namespace: "", name: "", vmiUid: "", epoch: 0 }, doorRefused(nodeName, refusal)),
  });
  const machines = new Machines({
    self: () => ({ nodeName, boot, agentInstance }),
    hypervisor, storage, controlPlane, outbox, clock, random, log,
    blueprint: (instance) => host.blueprint(instance),
    incoming: (instance) => host.incoming(instance),
    endings: fileEndings(stateDirectory),
    doors,
    memoryUri: config.migration && memoryUriAt(config.migration),
  });
  const inventory = new Inventory({
    hypervisor: host,
    storage,
    settings: {
      reservedMemoryBytes: config.reservedMemory,
      allowEmulation: config.allowEmulation,
      get migrationBlocker() {
        return migrationBlocker({ certificate: tls.cert, migration: config.migration }) || qemu.fault;
      },
    },
    kvm: () => host.kvm,
    foreignDomains: () => machines.foreignDomains(),
  });
  const reporter = new NodeReporter({ collect: () => inventory.collect(), outbox, clock, log });
  const tunnels = new Tunnels({
    connection: tunnelConnection,
    standing: (offer) => machines.stands(offer),
    consoleLogPath: (vmiUid) => storage.paths(machines.uids(vmiUid)).consoleLog,
    clock, log,
  });

  const hello = (): Hello => ({
    protocolMin: PROTOCOL, protocolMax: PROTOCOL, features: [], nodeUid: uid, boot, agentInstance, agentVersion: VERSION,
    lastAcknowledgedSeq: outbox.acknowledgedSeq,
  });
  const answer = async ({ commandId, action }: Command): Promise<CommandResult> =>
    action?.$case === "describeDomain"
      ? { commandId, error: "", domain: await describeDomain(hypervisor, action.value.domainUuid) }
      : { commandId, error: "This version of the agent does not know the command", domain: undefined };

  const onEvent = (event: HypervisorEvent): void => {
    if (event.type === "connected") {
      host.forgetFacts();
      void qemu.install().then(() => reporter.poke());
      void host.check().then(() => reporter.poke(), (error: unknown) => log.warn({ error }, "KVM could not be checked"));
    }
    if (event.type === "connected" || event.type === "disconnected") reporter.poke();
  };
  async function* events(): AsyncGenerator<HypervisorEvent> {
    for await (const event of hypervisor.events(signal)) {
      onEvent(event);
      yield event;
    }
  }

  const boundLogs = async (): Promise<void> => {
    for (const vmiUid of await storage.machines()) await boundLog(storage.paths({ vmiUid, vmUid: vmiUid }).consoleLog, runCommand);
  };

  const leftovers = new LeftoverVariables({ storage, controlPlane, storeId: () => store.known(), isHere: (vmUid) => machines.has(vmUid), log });

  await machines.recall();
  const ignoreAbort = (error: unknown): void => {
    if (!signal.aborted) throw error;
  };
  // Registered before the connection is made, so that its first event is not missed.
  const consuming = machines.consume(events());
  const connected = hypervisor.start(signal);
  const parts = [
    consuming,
    connected,
    machines.relistAlways(signal),
    every(clock, LOGS_EVERY_MS, { run: boundLogs, signal, onError: (error) => log.warn({ error }, "a console's log could not be shortened") }),
    every(clock, LEFTOVERS_EVERY_MS, { run: () => leftovers.sweep(), signal, onError: (error) => log.debug({ error }, "firmware variables could not be looked after") }),
    // A moment for libvirt, so that a restart of the agent alone is no news.
    Promise.race([connected, delay(clock, FIRST_LOOK_MS, signal)]).then(() => reporter.run(signal)),
    upkeep.run(signal),
    runSessions({
      connect: () => {
        upkeep.look(); // Whoever was put out may have joined again.
        return dial();
      },
      calls, hello, answer, clock, random, log,
      listener: {
        welcome(welcome) {
          nodeName = welcome.nodeName;
          const hold = !store.matches(welcome.storeId);
          if (hold) log.error({ storeId: welcome.storeId, known: store.known() }, "the API server keeps another store than this node belongs to: nothing is changed");
          machines.beginSession(hold);
          outbox.retryNow();
          reporter.tellAgain();
          log.info({ node: nodeName, session: welcome.sessionId }, "session stands");
        },
        assignment: (assignment) => machines.assign(assignment),
        synced: () => machines.synced(),
        withdrawn: ({ vmiUid }) => machines.withdraw(vmiUid),
        tunnel: (offer) => tunnels.accept(offer, signal),
      },
    }, signal),
  ].map((part) => part.catch(ignoreAbort));

  log.info({ agentInstance, nodeUid: uid, stateDirectory }, "running");
  const reason = await Promise.race([signalled("SIGTERM", "SIGINT"), Promise.all(parts).then(() => "end")]);
  log.info({ reason }, "stopping; guests go on");
  stopping.abort(new Error("The agent stops"));
  machines.close();
  outbox.close();
  await hypervisor.close();
  await Promise.all(parts);
});

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
