/**
 * Moves of a guest, by Drover and by virsh: both until the move is over for whoever asked for it, with QEMU's own figures
 * of the transfer out of the same event of libvirt.
 */
import { MigrationPhase } from "../gen/drover/v1/migration.ts";
import { systemClock } from "../lib/clock.ts";
import { serverNameOf } from "../lib/pki/identity.ts";
import type { JobStats } from "../node-agent/libvirt/hypervisor.ts";
import type { Fleet } from "../test/lab/fleet.ts";
import { GUEST_READY } from "../test/lab/guest.ts";
import { waitForLineIn } from "../test/lab/process.ts";
import { copyOf } from "./baseline.ts";
import type { DirectHost } from "./baseline.ts";
import { named } from "./control-plane.ts";
import type { ControlPlane } from "./control-plane.ts";
import { NAMESPACE } from "./machines.ts";

/** virsh has these of what Drover's agent asks for; both move definition and guest. */
const FLAGS = "--live --p2p --persistent --undefinesource --unsafe --abort-on-error";
const BOOT_TIMEOUT_MS = 120_000;
const MEBIBYTE = 1 << 20;

export type Ends = { from: DirectHost; to: DirectHost };
export type Move = { totalMs: number; downtimeMs: number; mibPerSecond: number };
/** A guest of Drover's, and a copy of it that is nobody's. */
export type Twins = { name: string; ours: string; theirs: string };

/** Both have booted when it answers. Drover's domain is to be there already. */
export async function bootTwins(fleet: Fleet, plane: ControlPlane, { name, directs }: { name: string; directs: readonly DirectHost[] }): Promise<Twins> {
  const { instance } = await plane.start(name);
  const ours = instance.spec!.domain!.firmware!.uuid;
  const home = directs.find(({ host }) => host.name === instance.status!.nodeName)!;
  const copyName = `alone-${name}`;
  const copy = copyOf(await home.hypervisor.xml(ours, "inactive"), { hosts: directs.map(({ host }) => host), name: copyName });
  await home.start(copy.xml);
  const consoles = [`${fleet.machineDirectory(home.host, instance.metadata!.uid)}/console.log`, `${home.host.localDirectory}/bench/${copyName}/console.log`];
  await Promise.all(consoles.map((console) => waitForLineIn(console, GUEST_READY, { timeoutMs: BOOT_TIMEOUT_MS })));
  return { name, ours, theirs: copy.uuid };
}

/** The name under which each host's QEMU is verified. */
export async function qemuNames(plane: ControlPlane, directs: readonly DirectHost[]): Promise<Map<string, string>> {
  const entries = directs.map(async ({ host: { name } }) => {
    const { node } = await plane.api.nodes.getNode({ name });
    return [name, serverNameOf("drover", { kind: "migration", uid: node!.metadata!.uid })] as const;
  });
  return new Map(await Promise.all(entries));
}

export async function endsOf(directs: readonly DirectHost[], uuid: string): Promise<Ends> {
  const [a, b] = directs as readonly [DirectHost, DirectHost];
  return (await a.hypervisor.get(uuid)) ? { from: a, to: b } : { from: b, to: a };
}

/** The figures of the domain's transfer, as the source's libvirt tells them when it is over. */
async function completed(from: DirectHost, uuid: string): Promise<JobStats> {
  const { event } = await from.next((event) => event.type === "job-completed" && event.uuid === uuid);
  return event.type === "job-completed" ? event.stats : { kind: "none" };
}

/** Until a watcher sees Succeeded; then it waits for the machine's record to name the new host as well. */
export async function moveOurs(plane: ControlPlane, { name, ours }: Twins, { from, to }: Ends): Promise<Move & { recordedMs: number }> {
  const stats = completed(from, ours);
  const ended = plane.migrations.next(`the migration of ${name} to end`, ({ object, deleted }) =>
    !deleted && object.spec?.vmiName === name && FINAL.has(object.status?.phase ?? 0) && object.status?.targetNode === to.host.name);
  const landed = plane.instances.next(`${name} to be on ${to.host.name}`, (seen) => named(seen, name) && seen.object.status?.nodeName === to.host.name);
  const beganMs = systemClock.monotonicMs();
  await plane.api.machines.migrateVirtualMachine({ namespace: NAMESPACE, name, targetNode: to.host.name, addedNodeSelector: {}, requestId: "", validateOnly: false });
  const { atMs, object } = await ended;
  if (object.status?.phase !== MigrationPhase.SUCCEEDED) throw new Error(`The migration did not succeed: ${object.status?.message}`);
  await landed;
  return { totalMs: atMs - beganMs, ...figuresOf(await stats), recordedMs: object.status.progress?.downtimeMs ?? NaN };
}

export async function moveTheirs({ theirs }: Twins, { from, to }: Ends, encryption: string): Promise<Move> {
  const stats = completed(from, theirs);
  const totalMs = await from.virsh(`migrate ${FLAGS} ${encryption} ${theirs} ${to.host.directUri} --migrateuri tcp://${to.host.address}`);
  return { totalMs, ...figuresOf(await stats) };
}

/** What makes virsh encrypt as Drover does. */
export const encryptedFor = (names: ReadonlyMap<string, string>, { to }: Ends): string => `--tls --tls-destination ${names.get(to.host.name)}`;

const figuresOf = ({ downtimeMs = NaN, memoryBytesPerSecond = NaN }: JobStats): Omit<Move, "totalMs"> =>
  ({ downtimeMs, mibPerSecond: memoryBytesPerSecond / MEBIBYTE });

export const FINAL = new Set<MigrationPhase>([MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED]);
