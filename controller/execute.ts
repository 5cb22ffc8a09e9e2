/** The thin half: one call for each action. What a write answers goes into the cache at once. */
import { ClientError, Status } from "nice-grpc";
import { DeleteVirtualMachineInstanceMigrationRequest } from "../gen/drover/v1/migration.ts";
import { GetNodeRequest } from "../gen/drover/v1/node.ts";
import {
  DeleteVirtualMachineInstanceRequest,
  GetVirtualMachineInstanceRequest,
  ReleaseVirtualMachineInstanceRequest,
} from "../gen/drover/v1/virtual_machine_instance.ts";
import { isEnded } from "../lib/drain/record.ts";
import { DeleteVolumeRequest, VolumeState } from "../gen/drover/v1/volume.ts";
import type { VolumeStatus } from "../gen/drover/v1/volume.ts";
import type { Execute } from "./actions.ts";
import type { Clients } from "./api.ts";
import type { Caches, Context } from "./context.ts";
import type { Notices } from "./events.ts";
import { atBirth } from "./instance/decide.ts";
import { observed } from "./instance/observe.ts";
import { instanceOf, machineOf, migrationOf, nodeOf, volumeOf } from "./objects.ts";
import type { Instance, Named, VolumeRecord } from "./objects.ts";
import { owns } from "./virtual-machine/decide.ts";
import { fateOf } from "./volume/decide.ts";
import type { Fate } from "./volume/decide.ts";

/** The world is not as the decision had it: the key runs again, on what has come in by then. */
export class OutOfDate extends Error {
  override name = "OutOfDate";
}

/** The migration cannot be had as things are; anything else is a lost race or an absent server. */
const REFUSED = new Set<Status>([Status.FAILED_PRECONDITION, Status.ALREADY_EXISTS, Status.NOT_FOUND]);

type Wired = { clients: Clients; context: Context; notices: Notices };

export function makeExecute({ clients, context, notices }: Wired): Execute {
  const { caches, refusals } = context;
  return {
    ...machineActions(clients, caches),
    "create-instance": ({ machine, instance }, signal) => context.placing(async () => {
      const born = atBirth(observed(instance, machine, context));
      // The server refuses one that is made from an older machine than there is.
      const answer = await clients.instances.createVirtualMachineInstance({ virtualMachineInstance: born.instance, requestId: "", validateOnly: false }, { signal });
      keep(caches.instances, answer.virtualMachineInstance, instanceOf);
      const created = answer.virtualMachineInstance && instanceOf(answer.virtualMachineInstance);
      if (created && born.told) notices.say({ ...born.told, about: created });
    }),
    ...instanceActions(clients, caches),
    ...volumeActions(clients, caches),
    async "create-migration"({ migration }, signal) {
      try {
        const answer = await clients.migrations.createVirtualMachineInstanceMigration({ migration, requestId: "", validateOnly: false }, { signal });
        keep(caches.migrations, answer.migration, migrationOf);
      } catch (error) {
        if (!(error instanceof ClientError) || !REFUSED.has(error.code)) throw error;
        refusals.note(`${migration.metadata.namespace}/${migration.metadata.name}`, error.details);
      }
    },
    async "put-migration"({ migration }, signal) {
      const answer = await clients.migrations.updateVirtualMachineInstanceMigrationStatus({ migration }, { signal });
      keep(caches.migrations, answer.migration, migrationOf);
    },
    async "delete-migration"({ migration: { metadata } }, signal) {
      const { namespace, name, uid } = metadata;
      const request = DeleteVirtualMachineInstanceMigrationRequest.create({ namespace, name, uid });
      await unlessGone(clients.migrations.deleteVirtualMachineInstanceMigration(request, { signal }));
    },
    async "put-node"({ node }, signal) {
      const answer = await clients.nodes.updateNodeStatus({ node }, { signal });
      keep(caches.nodes, answer.node, nodeOf);
    },
    async notify({ notice }) {
      notices.say(notice);
    },
  };
}

function machineActions(clients: Clients, caches: Caches): Pick<Execute, "put-machine" | "finish-machine"> {
  const put: Execute["put-machine"] = async ({ machine }, signal) => {
    const answer = await clients.machines.updateVirtualMachineStatus({ virtualMachine: machine }, { signal });
    keep(caches.machines, answer.virtualMachine, machineOf);
  };
  return {
    "put-machine": put,
    async "finish-machine"({ machine }, signal) {
      const instance = await readInstance(clients, machine, signal);
      if (instance && owns(machine, instance)) throw new OutOfDate(`Cannot finish ${machine.metadata.name}: its instance is still there`);
      await put({ do: "put-machine", machine }, signal);
    },
  };
}

function instanceActions(clients: Clients, caches: Caches): Pick<Execute, "delete-instance" | "put-instance" | "release-instance"> {
  return {
    async "delete-instance"({ instance: { metadata }, graceSeconds, fence, drain }, signal) {
      if (fence) await mustBeFenced(clients, fence, signal);
      if (drain) await mustBeDraining(clients, drain, signal);
      const { namespace, name, uid } = metadata;
      const grace = graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds };
      const request = DeleteVirtualMachineInstanceRequest.create({ namespace, name, uid, ...grace });
      const answer = await unlessGone(clients.instances.deleteVirtualMachineInstance(request, { signal }));
      const left = answer?.virtualMachineInstance;
      if (left?.metadata?.deletionTimestamp) keep(caches.instances, left, instanceOf);
    },
    async "put-instance"({ instance }, signal) {
      const answer = await clients.instances.updateVirtualMachineInstanceStatus({ virtualMachineInstance: instance }, { signal });
      keep(caches.instances, answer.virtualMachineInstance, instanceOf);
    },
    async "release-instance"({ instance: { metadata }, reason }, signal) {
      const { namespace, name, uid, resourceVersion } = metadata;
      const request = ReleaseVirtualMachineInstanceRequest.create({ namespace, name, uid, resourceVersion, reason });
      await unlessGone(clients.instances.releaseVirtualMachineInstance(request, { signal }));
    },
  };
}

type VolumeActions = Pick<Execute, "hold-volume" | "free-volume" | "settle-volume" | "vacate-volume" | "delete-volume">;

function volumeActions(clients: Clients, caches: Caches): VolumeActions {
  const put = async (volume: VolumeRecord, status: Partial<VolumeStatus>, signal: AbortSignal) => {
    const answer = await clients.volumes.updateVolumeStatus({ volume: { ...volume, status: { ...volume.status, ...status } } }, { signal });
    keep(caches.volumes, answer.volume, volumeOf);
  };
  /** What a node may remove by it is not brought back, so it is decided once more on what is on record. */
  const stillDue = async (fate: Fate, volume: VolumeRecord, signal: AbortSignal) => {
    const holder = await readHolder(clients, volume, signal);
    if (fateOf({ volume, holder, isOpen: false }) !== fate) throw new OutOfDate(`Cannot ${fate} ${volume.metadata.name}: its holder's record says otherwise`);
  };
  return {
    async "settle-volume"({ volume }, signal) {
      await stillDue("settle", volume, signal);
      await put(volume, { state: VolumeState.UNSPECIFIED, migrationUid: "" }, signal);
    },
    async "vacate-volume"({ volume, migrationUid }, signal) {
      await stillDue("vacate", volume, signal);
      await put(volume, { holder: undefined, state: VolumeState.VACATED, migrationUid }, signal);
    },
    async "delete-volume"({ volume: { metadata: { name, uid, resourceVersion } } }, signal) {
      await unlessGone(clients.volumes.deleteVolume(DeleteVolumeRequest.create({ name, uid, resourceVersion }), { signal }));
    },
    async "hold-volume"({ volume }, signal) {
      const isNew = volume.metadata.resourceVersion === "";
      const answer = isNew
        ? await clients.volumes.createVolume({ volume, requestId: "", validateOnly: false }, { signal })
        : await clients.volumes.updateVolumeStatus({ volume }, { signal });
      keep(caches.volumes, answer.volume, volumeOf);
      const holder = answer.volume?.status?.holder?.vmiUid;
      if (holder !== volume.status.holder?.vmiUid) throw new OutOfDate(`Cannot hold ${volume.metadata.name}: the record does not name the holder`);
    },
    async "free-volume"({ volume }, signal) {
      await stillDue("free", volume, signal);
      await put(volume, { holder: undefined }, signal);
    },
  };
}

function keep<O, T extends Named>(cache: { wrote(object: T): void }, answer: O | undefined, parse: (object: O) => T | undefined): void {
  const object = answer && parse(answer);
  if (object) cache.wrote(object);
}

/** Past every cache. */
async function readHolder(clients: Clients, { metadata, status: { holder } }: VolumeRecord, signal: AbortSignal): Promise<Instance | undefined> {
  return holder && readInstance(clients, { metadata: { ...metadata, namespace: holder.namespace, name: holder.name } }, signal);
}

/** Past every cache. */
async function readInstance(clients: Clients, { metadata: { namespace, name } }: Named, signal: AbortSignal): Promise<Instance | undefined> {
  const answer = await unlessGone(clients.instances.getVirtualMachineInstance(GetVirtualMachineInstanceRequest.create({ namespace, name }), { signal }));
  return answer?.virtualMachineInstance && instanceOf(answer.virtualMachineInstance);
}

async function mustBeFenced(clients: Clients, { node, id }: { node: string; id: string }, signal: AbortSignal): Promise<void> {
  const answer = await clients.nodes.getNode(GetNodeRequest.create({ name: node }), { signal });
  if (answer.node?.status?.fence?.id !== id) throw new OutOfDate(`Cannot free the machines of ${node}: it is not fenced any more`);
}

/** What a drain stops it stops while that is still wanted: an uncordon that the cache has not seen yet counts. */
async function mustBeDraining(clients: Clients, { node, uid }: { node: string; uid: string }, signal: AbortSignal): Promise<void> {
  const answer = await clients.nodes.getNode(GetNodeRequest.create({ name: node }), { signal });
  if (answer.node?.status?.drain?.uid !== uid || isEnded(answer.node)) throw new OutOfDate(`Cannot stop a machine of ${node}: its drain was ended`);
}

async function unlessGone<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ClientError && error.code === Status.NOT_FOUND) return undefined;
    throw error;
  }
}
