/** Merges what agents report into the records, each part by its own rule; a repeat finds nothing left to change. */
import type { MigrationProgressPart, ReportRequest } from "../../gen/drover/agent/v1/agent.ts";
import { Event, EventType, ObjectReference } from "../../gen/drover/v1/event.ts";
import { VirtualMachineInstanceMigrationStatus } from "../../gen/drover/v1/migration.ts";
import type { Node, NodeReport } from "../../gen/drover/v1/node.ts";
import { MigrationSourceState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { Clock } from "../../lib/clock.ts";
import { Aborted, FailedPrecondition, InvalidArgument, NotFound, unreachable } from "../../lib/errors.ts";
import { migrations } from "../kinds/migration.ts";
import { nodes } from "../kinds/node.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import type { Call, Objects } from "../objects.ts";
import type { NodeSessions } from "../sessions/node-sessions.ts";
import type { LiveProgress } from "../sessions/live-progress.ts";
import type { ProgressPace } from "../sessions/progress-pace.ts";
import { mergeSourceReport, mergeTargetReport } from "../subresources/migration-report.ts";
import { beyondCaps, mergeNodeReport } from "../subresources/node.ts";
import { mergeOwnerReport } from "../subresources/owner-report.ts";
import { isOpen } from "../subresources/migrate.ts";
import { concerns, notYours } from "../sessions/roles.ts";
import { plain } from "../subresources/untrusted.ts";

export type ReportParts = {
  objects: Objects;
  sessions: NodeSessions;
  clock: Clock;
  pace: ProgressPace;
  live: LiveProgress;
  /** Records an event, folded with its like. */
  recordEvent: (event: Event, call: Call) => Promise<unknown>;
};

/** `node` is the one in the certificate. */
export type ReportCall = Call & { node: string };

/** Answers the version of the record after the merge; empty for events and progress. */
export async function acceptReport(parts: ReportParts, request: ReportRequest, call: ReportCall): Promise<string> {
  const { part } = request;
  switch (part?.$case) {
    case "owner":
      return mergeInstance(parts, request, call, (vmi) => mergeOwnerReport(vmi, part.value, reporter(parts, request, call)));
    case "migrationSource": {
      const { migrationUid, report } = required(part.value, "migration_source");
      if (report.state === MigrationSourceState.ISSUED) await refuseCancelled(parts, request, migrationUid);
      return mergeInstance(parts, request, call, (vmi) => mergeSourceReport(vmi, report, { ...reporter(parts, request, call), migrationUid }));
    }
    case "migrationTarget": {
      const { migrationUid, report } = required(part.value, "migration_target");
      return mergeInstance(parts, request, call, (vmi) => mergeTargetReport(vmi, report, { ...reporter(parts, request, call), migrationUid }));
    }
    case "node":
      return acceptNodeReport(parts, { report: part.value, agentInstance: request.agentInstance }, call);
    case "event":
      return acceptEvent(parts, part.value, request, call);
    case "migrationProgress":
      return acceptProgress(parts, part.value, request, call);
    case undefined:
      throw new InvalidArgument([{ path: "part", message: "is required: owner, migration_source, migration_target, node, event or migration_progress" }]);
    default:
      return unreachable(part);
  }
}

function required<R>({ migrationUid, report }: { migrationUid: string; report: R | undefined }, path: string): { migrationUid: string; report: R } {
  if (report === undefined) throw new InvalidArgument([{ path: `${path}.report`, message: "is required" }]);
  return { migrationUid, report };
}

const reporter = ({ clock }: ReportParts, { agentInstance, vmiUid, epoch }: ReportRequest, { node }: ReportCall) =>
  ({ nodeName: node, agentInstance, vmiUid, epoch, now: clock.now() });

const keyOf = ({ namespace, name }: ReportRequest) => ({ namespace: namespace || "default", name });

async function mergeInstance(
  { objects, sessions }: ReportParts,
  request: ReportRequest,
  call: ReportCall,
  merge: (vmi: VirtualMachineInstance) => VirtualMachineInstance | undefined,
): Promise<string> {
  const own = (vmi: VirtualMachineInstance) => {
    if (!concerns(vmi, call.node)) throw notYours();
    sessions.present(call.node, request.agentInstance);
    return merge(vmi);
  };
  try {
    const merged = await objects.change(virtualMachineInstances, keyOf(request), own, unjournaled(call));
    return merged.metadata!.resourceVersion;
  } catch (error) {
    if (error instanceof NotFound) throw notYours();
    throw error;
  }
}

/**
 * The user's wish stands in the migration's own record, and a controller that has not seen it may have entered the
 * migration since. The machine's record is read first: a wish that is recorded later finds the migration entered there.
 */
async function refuseCancelled({ objects }: ReportParts, request: ReportRequest, migrationUid: string): Promise<void> {
  const grant = (await objects.find(virtualMachineInstances, keyOf(request)))?.status?.migration;
  if (grant?.uid !== migrationUid || grant.source?.state === MigrationSourceState.ISSUED) return;
  const { namespace } = keyOf(request);
  const migration = await objects.find(migrations, { namespace, name: grant.name });
  if (migration?.metadata?.uid !== migrationUid || !migration.status?.cancelRequested) return;
  throw new FailedPrecondition([{ type: "ABORT_REQUESTED", subject: `virtualmachineinstancemigrations/${namespace}/${grant.name}`, message: "The migration was cancelled before it began" }]);
}

/** The instance, if the node may know of it. */
async function ownInstance({ objects, sessions }: ReportParts, request: ReportRequest, { node }: ReportCall): Promise<VirtualMachineInstance> {
  const instance = await objects.find(virtualMachineInstances, keyOf(request));
  if (!instance || !concerns(instance, node)) throw notYours();
  sessions.present(node, request.agentInstance);
  return instance;
}

/** The records themselves tell a repeat, so reports leave no journal entry. */
function unjournaled({ node: _node, ...call }: ReportCall): Call {
  return { ...call, requestId: "", repeatable: false, validateOnly: false };
}

type OwnReport = { report: NodeReport; agentInstance: string };

async function acceptNodeReport(parts: ReportParts, { report, agentInstance }: OwnReport, call: ReportCall): Promise<string> {
  const { objects, sessions } = parts;
  const session = sessions.present(call.node, agentInstance);
  const newer = report.generation > session.reportGeneration;
  session.reportGeneration = Math.max(session.reportGeneration, report.generation);
  try {
    const merge = (node: Parameters<typeof mergeNodeReport>[0]) => (newer ? mergeNodeReport(node, report) : undefined);
    const node = await objects.change(nodes, { name: call.node }, merge, unjournaled(call));
    if (newer) await tellAnomaly(parts, node, call);
    return node.metadata!.resourceVersion;
  } catch (error) {
    // Its record was deleted under it, and its identity with it.
    if (error instanceof NotFound) sessions.close(session, new Aborted("The node's record was deleted", { reason: "NODE_DELETED" }));
    throw error;
  }
}

/** More than the administrator has granted is never used; that it is claimed is worth a look. */
async function tellAnomaly({ recordEvent }: ReportParts, node: Node, call: ReportCall): Promise<void> {
  const message = beyondCaps(node);
  if (message === undefined) return;
  const regarding = ObjectReference.create({ kind: "Node", name: call.node, uid: node.metadata!.uid });
  const event = Event.create({ regarding, reason: "ReportExceedsCap", message, type: EventType.WARNING, source: "api-server" });
  await recordEvent(event, unjournaled(call));
}

/** Only about the node itself and the machines that it holds. */
async function acceptEvent(parts: ReportParts, event: Event, request: ReportRequest, call: ReportCall): Promise<string> {
  const about = event.regarding;
  if (!about) throw new InvalidArgument([{ path: "event.regarding", message: "is required" }]);
  const regarding = about.kind === "Node" ? itself(parts, about, { request, call }) : await held(parts, about, { request, call });
  const source = `node/${call.node}`;
  const requestId = `${request.agentInstance}/${request.seq}`;
  // The metadata is the server's to make: an agent could otherwise keep its events from ever being removed.
  const own = { ...event, metadata: undefined, regarding, message: plain(event.message), source };
  await parts.recordEvent(own, { ...unjournaled(call), requestId, repeatable: true });
  return "";
}

type Reporting = { request: ReportRequest; call: ReportCall };

function itself({ sessions }: ReportParts, { name }: ObjectReference, { request, call }: Reporting): ObjectReference {
  if (name !== "" && name !== call.node) throw notYours();
  sessions.present(call.node, request.agentInstance);
  return ObjectReference.create({ kind: "Node", name: call.node });
}

/** The uid is the record's: an agent's word could put the event beside those of another machine. */
async function held(parts: ReportParts, about: ObjectReference, { request, call }: Reporting): Promise<ObjectReference> {
  const instance = await ownInstance(parts, request, call);
  const { uid, ownerReferences, name, namespace } = instance.metadata!;
  const uids: Record<string, string | undefined> = {
    VirtualMachineInstance: uid,
    VirtualMachine: ownerReferences.find(({ kind }) => kind === "VirtualMachine")?.uid ?? "",
  };
  const known = uids[about.kind];
  if (known === undefined || uid !== request.vmiUid || about.name !== name) throw notYours();
  return ObjectReference.create({ kind: about.kind, namespace, name, uid: known });
}

/** Told to who watches. Recorded at once the first time, then now and then; what comes between is not, as the next one says more. */
async function acceptProgress(
  parts: ReportParts,
  { migrationUid, progress }: MigrationProgressPart,
  request: ReportRequest,
  call: ReportCall,
): Promise<string> {
  const { objects, pace, live } = parts;
  const { namespace, name } = keyOf(request);
  const instance = await ownInstance(parts, request, call);
  if (!progress) return "";
  const migration = instance.status?.migration;
  if (migration?.uid !== migrationUid || migration.sourceNode !== call.node) {
    const subject = `virtualmachineinstances/${namespace}/${name}`;
    throw new FailedPrecondition([{ type: "NO_MIGRATION", subject, message: `The migration ${migrationUid} is not open from "${call.node}"` }]);
  }
  live.tell(migrationUid, progress);
  if (!pace.due(migrationUid)) return "";
  await objects.change(migrations, { namespace, name: migration.name }, (found) => {
    if (found.metadata?.uid !== migrationUid || !isOpen(found)) return undefined;
    return { ...found, status: { ...(found.status ?? VirtualMachineInstanceMigrationStatus.create()), progress } };
  }, unjournaled(call));
  return "";
}
