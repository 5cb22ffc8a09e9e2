/** What each call does at a simulated daemon, and how long it takes. Once asked it is carried out, whoever still listens. */
import { errorCode } from "../../../node-agent/libvirt/constants.ts";
import { HypervisorError } from "../../../node-agent/libvirt/hypervisor.ts";
import { refuseOthers } from "../../../node-agent/libvirt/others.ts";
import type { OperationName, Operations } from "../../../node-agent/libvirt/protocol.ts";
import { noDomain } from "./host.ts";
import type { SimHost } from "./host.ts";
import { refused, Transfer } from "./transfer.ts";

type Args<K extends OperationName> = Operations[K]["arguments"];
type Run<K extends OperationName> = (host: SimHost, args: Args<K>) => Operations[K]["result"];

/** From and to, in milliseconds. */
const TAKES: Partial<Record<OperationName, [number, number]>> = { launch: [150, 900], create: [150, 700], destroy: [30, 250], undefine: [3, 20], inventory: [20, 120] };
const TAKES_OTHERWISE: [number, number] = [0.5, 6];
/** A guest that is still booting does not hear. */
const HEARS = 0.85;
const COPY_MS: [number, number] = [400, 14_000];
/** Of transfers, how many do not come to an end by themselves. */
const ENDLESS = 0.08;
const ENDLESS_MS = 90_000;
const LOCK_WAIT_MS = 30_000;

const running = (host: SimHost, uuid: string) => {
  const qemu = host.qemus.get(uuid);
  if (qemu) return qemu;
  throw host.domain(uuid) ? new HypervisorError("invalid-state", "Requested operation is not valid: domain is not running", errorCode.OPERATION_INVALID) : noDomain(uuid);
};

const simple: { [K in Exclude<OperationName, "migrate" | "launch" | "openConsole">]: Run<K> } = {
  inventory: (host) => host.inventory(),
  list: (host) => host.domains(),
  get: (host, { uuid }) => host.domain(uuid),
  findByName: (host, { name }) => host.domains().find((domain) => domain.name === name),
  xml(host, { uuid, form }) {
    const found = form === "inactive" ? (host.definitions.get(uuid) ?? host.qemus.get(uuid)) : (host.qemus.get(uuid) ?? host.definitions.get(uuid));
    if (!found) throw noDomain(uuid);
    return found.xml;
  },
  define: (host, { xml }) => host.define(xml),
  create: (host, { uuid }) => host.create(uuid),
  shutdown(host, { uuid }) {
    const { world, chance } = host;
    const qemu = running(host, uuid);
    if (!chance.happens(HEARS)) return;
    world.after(chance.between(200, 4_000), () => {
      if (host.qemus.get(uuid) === qemu && qemu.state === "running") host.stop(uuid, "shutdown");
    });
  },
  destroy: (host, { uuid }) => host.destroy(uuid),
  undefine: (host, { uuid }) => host.undefine(uuid),
  suspend: (host, { uuid }) => host.change(running(host, uuid), "paused", "user"),
  resume: (host, { uuid }) => host.change(running(host, uuid), "running", "unpaused"),
  reset: (host, { uuid }) => void running(host, uuid),
  setMetadata: (host, { uuid, metadata }) => host.setMetadata(uuid, metadata),
  job(host, { uuid }) {
    const { outgoing, incoming } = running(host, uuid);
    if (outgoing && !outgoing.isOver) return outgoing.stats;
    return { kind: incoming && !incoming.isOver ? "migration-in" : "none" };
  },
  startPostCopy() {
    throw new HypervisorError("invalid-state", "post-copy was not enabled for the migration", errorCode.OPERATION_INVALID);
  },
  abortJob(host, { uuid }) {
    const { outgoing } = running(host, uuid);
    if (!outgoing || outgoing.isOver) throw new HypervisorError("invalid-state", "no job is active on the domain", errorCode.OPERATION_INVALID);
    outgoing.abort();
  },
  setMigrationSpeed: (host, { uuid }) => void running(host, uuid),
  compareCpu: () => ({ compatible: true, message: "" }),
  startDirtyRate: (host, { uuid }) => void running(host, uuid),
  memoryLoad(host, { uuid }) {
    running(host, uuid);
    return { residentBytes: 100 * 1024 ** 2, dirtyBytesPerSecond: 1024 ** 2 };
  },
  setMaxDowntime: (host, { uuid }) => void running(host, uuid),
};

export type Outcome = { value: unknown } | { error: HypervisorError };
type Asked = { operation: OperationName; args: object; done: (outcome: Outcome) => void };

/** The daemon takes the call; `done` is told once, when there still is a daemon to tell. */
export function carryOut(host: SimHost, asked: Asked): void {
  const { world, chance, daemon } = host;
  const [fromMs, toMs] = TAKES[asked.operation] ?? TAKES_OTHERWISE;
  const attempt = (waitedMs: number): void => {
    if (host.daemon !== daemon || !host.daemonUp) return asked.done({ error: connectionLost() });
    if (host.daemonHangs || (waitedMs < LOCK_WAIT_MS && isLocked(host, asked))) return void world.after(250, () => attempt(waitedMs + 250));
    if (isLocked(host, asked)) return asked.done({ error: new HypervisorError("failed", "Timed out during operation: cannot acquire state change lock", errorCode.OPERATION_TIMEOUT) });
    begin(host, asked);
  };
  world.after(chance.between(fromMs, toMs), () => attempt(0));
}

/** One job at a time on a domain: what changes it waits for a transfer to end. */
const WAITS: ReadonlySet<OperationName> = new Set(["setMetadata", "suspend", "resume", "reset"]);

function isLocked(host: SimHost, { operation, args }: Asked): boolean {
  const qemu = host.qemus.get((args as { uuid?: string }).uuid ?? "");
  return WAITS.has(operation) && qemu?.outgoing !== undefined && !qemu.outgoing.isOver;
}

function begin(host: SimHost, { operation, args, done }: Asked): void {
  try {
    if (operation === "migrate") return migrate(host, args as Args<"migrate">, done);
    if (operation === "launch") return launch(host, args as Args<"launch">, done);
    if (operation === "openConsole") throw new HypervisorError("unsupported", "no guest has a console here");
    done({ value: (simple[operation] as (host: SimHost, args: object) => unknown)(host, args) });
  } catch (error) {
    if (!(error instanceof HypervisorError)) throw error;
    done({ error });
  }
}

/** Two calls, between which the daemon, or whoever makes them, may die. */
function launch(host: SimHost, { uuid, name, xml }: Args<"launch">, done: Asked["done"]): void {
  refuseOthers({ uuid, name }, { sameUuid: host.domain(uuid), sameName: host.domains().find((domain) => domain.name === name) });
  host.define(xml);
  const { daemon } = host;
  host.world.after(host.chance.between(1, 40), () => {
    if (host.daemon !== daemon || !host.daemonUp) return done({ error: connectionLost() });
    try {
      host.create(uuid);
      done({ value: host.domain(uuid)! });
    } catch (error) {
      done({ error: error as HypervisorError });
    }
  });
}

/** "sim://b/uid": the passage leads to the door that b opened for that migration. */
function migrate(host: SimHost, { uuid, options }: Args<"migrate">, done: Asked["done"]): void {
  const qemu = running(host, uuid);
  if (qemu.outgoing && !qemu.outgoing.isOver) throw new HypervisorError("invalid-state", "another migration job is already running", errorCode.OPERATION_INVALID);
  const [, name = "", door = ""] = /^sim:\/\/([^/]+)\/(.+)$/.exec(options.destinationUri) ?? [];
  const target = host.fabric.host(name);
  if (!target?.doors.has(door)) throw refused("unable to connect to server at the passage: Connection refused");
  const copyMs = host.chance.happens(ENDLESS) ? ENDLESS_MS : host.chance.between(...COPY_MS);
  new Transfer({ source: host, target, qemu, options, copyMs, done: (error) => done(error ? { error } : { value: undefined }) }).begin();
}

const connectionLost = (): HypervisorError => new HypervisorError("connection-lost", "End of file while reading data: Input/output error", errorCode.SYSTEM_ERROR);
