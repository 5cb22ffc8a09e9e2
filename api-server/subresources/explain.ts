/** Where a machine is held up, walked in the order in which an operator looks: request, record, controller, agent, libvirt. Pure. */
import type { DomainDescription } from "../../gen/drover/agent/v1/agent.ts";
import type { Event } from "../../gen/drover/v1/event.ts";
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import type { Condition } from "../../gen/drover/v1/meta.ts";
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import { ExplainVerdict, PowerIntent, RunOutcome, RunStrategy } from "../../gen/drover/v1/virtual_machine.ts";
import type { ExplainStep, ExplainVirtualMachineResponse, LastRun, VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { DomainState, Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { EVACUATION_REQUESTED } from "../../lib/drain/record.ts";
import type { JournalEntry } from "../store/store.ts";
import { migrationDetails, standsStillToMove } from "./explain-migration.ts";
import { isFinal } from "./phase.ts";
import { leftOff, powerOf, runOf } from "./power.ts";

export type Evidence = {
  /** Newest first: what was done to the machine's record. */
  journal: JournalEntry[];
  vm: VirtualMachine;
  /** Whatever stands under the machine's name. */
  instance: VirtualMachineInstance | undefined;
  /** The owner's record. */
  node: Node | undefined;
  /** About the machine, newest first. */
  events: Event[];
  /** What libvirt says now; undefined when there is no node to ask. */
  domain: DomainAnswer | undefined;
};

/** Or who failed to say it: the agent, which was not there to be asked, or libvirt, which did not answer the agent. */
export type DomainAnswer = DomainDescription | { failed: "agent" | "libvirt"; message: string };

const { OK, WAITING, HELD, UNKNOWN } = ExplainVerdict;
type Finding = { verdict: ExplainVerdict; summary: string; details?: string[] };

/** `instance` is the machine's own run; one that belongs to somebody else is the `stranger`. */
type Sorted = Evidence & { stranger: VirtualMachineInstance | undefined };

const STEPS: Record<string, (evidence: Sorted) => Finding> = {
  request: requestStep,
  record: recordStep,
  controller: controllerStep,
  agent: agentStep,
  libvirt: libvirtStep,
};

export function explain(evidence: Evidence): ExplainVirtualMachineResponse {
  const instance = runOf(evidence.vm, evidence.instance);
  const sorted = { ...evidence, instance, stranger: instance ? undefined : evidence.instance };
  const steps = Object.entries(STEPS).map(([name, look]): ExplainStep => ({ name, details: [], ...look(sorted) }));
  return { steps, heldAt: steps.findIndex(({ verdict }) => verdict === HELD) };
}

const shallRun = ({ vm }: Evidence): boolean => powerOf(vm).intent === PowerIntent.RUN;

function requestStep(evidence: Evidence): Finding {
  const { journal, vm, instance } = evidence;
  const details = journal.map((entry) =>
    `${verbOf(entry)} by ${entry.subject} at ${new Date(entry.atMs).toISOString()}, request ${idOf(entry)}, revision ${entry.after}`);
  const last = journal[0];
  const asked = last ? `The last request was ${verbOf(last)} by ${last.subject}` : "No request is remembered";
  const generation = `power generation ${powerOf(vm).generation}`;
  if (vm.metadata?.deletionTimestamp) return { verdict: OK, summary: `${asked}: it is being deleted`, details };
  if (!shallRun(evidence)) {
    return instance
      ? { verdict: OK, summary: `${asked}: it shall stop, ${generation}`, details }
      : { verdict: HELD, summary: `${asked}: it is off until it is started, ${generation}`, details };
  }
  if (leftOff(vm, instance)) {
    const ended = instance ? "its run has ended" : endOf(vm.status?.lastRun);
    const strategy = STRATEGIES[vm.spec?.runStrategy ?? RunStrategy.UNSPECIFIED] ?? "its own";
    return { verdict: HELD, summary: `${asked}: ${ended}, and run strategy ${strategy} begins no other until it is started`, details };
  }
  return { verdict: OK, summary: `${asked}: it shall run, ${generation}`, details };
}

const STRATEGIES: Partial<Record<RunStrategy, string>> = {
  [RunStrategy.MANUAL]: "Manual",
  [RunStrategy.ONCE]: "Once",
  [RunStrategy.RERUN_ON_FAILURE]: "RerunOnFailure",
};
const OUTCOMES: Partial<Record<RunOutcome, string>> = { [RunOutcome.SUCCEEDED]: "succeeded", [RunOutcome.FAILED]: "failed" };

function endOf(run: LastRun | undefined): string {
  const word = OUTCOMES[run?.outcome ?? RunOutcome.UNSPECIFIED] ?? "ended";
  return `its run ${word}${at(run?.ended)}${run?.message ? `: ${run.message}` : ""}`;
}

const at = (time: Date | undefined): string => (time ? ` at ${time.toISOString()}` : "");

const verbOf = ({ rpc }: JournalEntry): string => rpc.slice(rpc.lastIndexOf("/") + 1);

/** The id as the caller gave it; the journal keeps one subject's ids apart from another's by a prefix. */
const idOf = ({ requestId, subject }: JournalEntry): string => (requestId.startsWith(`${subject}/`) ? requestId.slice(subject.length + 1) : requestId);

/** Taken off by Drover itself, once the machine's last run is gone. */
const OWN_FINALIZER = "drover.dev/instance";

function recordStep({ vm, instance, stranger }: Sorted): Finding {
  const { generation, resourceVersion, deletionTimestamp, finalizers, name } = vm.metadata!;
  const details = [`VirtualMachine generation ${generation}, version ${resourceVersion}`, ...(instance ? instanceDetails(instance) : [])];
  if (deletionTimestamp) {
    const foreign = finalizers.filter((finalizer) => finalizer !== OWN_FINALIZER);
    if (foreign.length > 0 && !instance) return { verdict: HELD, summary: `Its deletion waits for ${foreign.join(", ")}, which Drover does not take off`, details };
    return { verdict: WAITING, summary: `It is being deleted and waits for ${finalizers.join(", ") || "nothing"}`, details };
  }
  if (stranger && powerOf(vm).intent === PowerIntent.RUN) {
    const owner = stranger.metadata!.ownerReferences.map((each) => `${each.kind} ${each.name}`).join(", ") || "nobody";
    const summary = `The instance ${stranger.metadata!.uid} has the name "${name}" and belongs to ${owner}: no run can begin until it is deleted`;
    return { verdict: HELD, summary, details };
  }
  const run = instance ? `Its run stands at ${phaseName(instance)}` : "No run of it is recorded";
  return { verdict: OK, summary: run, details };
}

const PHASES: Record<Phase, string> = {
  [Phase.UNRECOGNIZED]: "an unknown phase",
  [Phase.UNSPECIFIED]: "no phase",
  [Phase.PENDING]: "Pending",
  [Phase.SCHEDULING]: "Scheduling",
  [Phase.SCHEDULED]: "Scheduled",
  [Phase.RUNNING]: "Running",
  [Phase.SUCCEEDED]: "Succeeded",
  [Phase.FAILED]: "Failed",
};
const phaseName = ({ status }: VirtualMachineInstance): string => PHASES[status?.phase ?? Phase.UNSPECIFIED] ?? "an unknown phase";

function instanceDetails(instance: VirtualMachineInstance): string[] {
  const { nodeName = "", epoch = 0, claim, migration, reason = "", message = "" } = instance.status ?? {};
  return [
    `VirtualMachineInstance ${instance.metadata!.uid}, ${phaseName(instance)}${reason && `, ${reason}: ${message}`}`,
    nodeName === "" ? "bound to no node" : `bound to ${nodeName} at epoch ${epoch}, ${claim ? "claimed" : "not claimed"}`,
    ...(migration ? migrationDetails(migration) : []),
  ];
}

function controllerStep(evidence: Sorted): Finding {
  const { vm, instance, events } = evidence;
  const conditions = [...(vm.status?.conditions ?? []), ...(instance?.status?.conditions ?? [])];
  const facts = conditions.map(({ type, status, reason, message }) => `${type} is ${STATUSES[status] ?? "unknown"}${reason && `: ${reason}`}${message && `, ${message}`}`);
  const details = [
    ...new Set(facts), // The machine's conditions repeat its run's.
    ...events.slice(0, 3).map(({ reason, message, count }) => `event ${reason} (${count}): ${message}`),
  ];
  if (evidence.stranger && shallRun(evidence)) return { verdict: WAITING, summary: "It waits until the name is free", details };
  const held = unacted(evidence) ?? refusedBy(conditions);
  if (held) return { verdict: HELD, summary: held, details };
  const generation = vm.metadata!.generation;
  const seen = vm.status?.observedGeneration ?? 0;
  if (seen < generation) return { verdict: HELD, summary: `The controller has not seen generation ${generation}: it stands at ${seen}${AWAY}`, details };
  if (!instance) return { verdict: OK, summary: "Nothing is left for it to do", details };
  const evacuation = instance.status?.conditions.find(({ type, status }) => type === EVACUATION_REQUESTED && status === ConditionStatus.TRUE);
  return { verdict: OK, summary: `It has done its part for this run${evacuation ? `, and ${evacuation.message}` : ""}`, details };
}

const STATUSES: Record<ConditionStatus, string> = {
  [ConditionStatus.UNRECOGNIZED]: "unknown",
  [ConditionStatus.UNSPECIFIED]: "unknown",
  [ConditionStatus.TRUE]: "true",
  [ConditionStatus.FALSE]: "false",
  [ConditionStatus.UNKNOWN]: "unknown",
};

/** What to look at when it does not pass in a moment. */
const AWAY = ": if that lasts, see whether drover-controller runs";

/** What the record asks for and the controller has not answered. */
function unacted(evidence: Evidence): string | undefined {
  const { vm, instance } = evidence;
  const { generation, restartUid, since } = powerOf(vm);
  const asked = since ? ` of ${since.toISOString()}` : "";
  const { startFailure } = vm.status ?? {};
  if (!instance) {
    if (!shallRun(evidence) || leftOff(vm, instance) || vm.metadata?.deletionTimestamp) return undefined;
    if (startFailure) return `It waits before the next attempt, after ${startFailure.consecutiveFailCount} that failed: ${vm.status?.lastRun?.message || "no reason was given"}`;
    return `The controller has not acted on power generation ${generation}${asked}${AWAY}`;
  }
  const ending = instance.metadata?.deletionTimestamp !== undefined;
  if (isFinal(instance.status?.phase ?? Phase.UNSPECIFIED)) return ending ? undefined : `The controller has not taken note of the run's end${AWAY}`;
  const shallEnd = !shallRun(evidence) || restartUid === instance.metadata!.uid;
  if (shallEnd && !ending) return `The controller has not acted on power generation ${generation}${asked}, so that the run shall end${AWAY}`;
  const untouched = instance.status?.nodeName === "" && instance.status.conditions.length === 0;
  return untouched ? `The controller has not looked for a node${AWAY}` : undefined;
}

function refusedBy(conditions: Condition[]): string | undefined {
  const held = conditions.find(({ type, status }) => (type === "Scheduled" || type === "VolumesHeld") && status === ConditionStatus.FALSE);
  return held && (held.message || held.reason);
}

const nothingYet = (instance: VirtualMachineInstance | undefined): Finding =>
  ({ verdict: UNKNOWN, summary: instance ? "No node is bound to it yet" : "No node has anything to do with it" });

function agentStep({ vm, instance, node, domain }: Evidence): Finding {
  const status = instance?.status;
  if (!status || status.nodeName === "") return nothingYet(instance);
  const session = node?.status?.session;
  const report = status.ownerReport;
  const details = [
    ...(session ? [`agent ${session.agentInstance}, version ${session.agentVersion || "unknown"}`] : []),
    ...(report ? [`reported ${stateName(report.state)} (${report.reason || "no reason"}) under epoch ${report.epoch} at ${report.observed?.toISOString() ?? "an unknown time"}`] : []),
  ];
  if (session?.state !== NodeSessionState.CONNECTED) {
    const since = session?.since ? ` since ${session.since.toISOString()}` : "";
    const why = session?.message || "it has never connected";
    return { verdict: HELD, summary: `The agent of "${status.nodeName}" is silent${since}: ${why}: see whether drover-node-agent runs there`, details };
  }
  if (domain && "failed" in domain && domain.failed === "agent") return { verdict: HELD, summary: domain.message, details };
  return { details, ...reported(vm, status, node?.status?.report?.hypervisorConnected ?? false) };
}

function reported(vm: VirtualMachine, { claim, epoch, nodeName, ownerReport }: NonNullable<VirtualMachineInstance["status"]>, hypervisor: boolean): Finding {
  if (!hypervisor) return { verdict: WAITING, summary: `The agent of "${nodeName}" waits for libvirt` };
  if (!claim) return { verdict: HELD, summary: `The agent of "${nodeName}" has not claimed epoch ${epoch}` };
  if (!ownerReport) return { verdict: WAITING, summary: `The agent of "${nodeName}" has claimed it and has not reported yet` };
  const { state, message, pausedReason } = ownerReport;
  if (state === DomainState.START_FAILED) return { verdict: HELD, summary: `The agent of "${nodeName}" could not start it: ${message}` };
  if (state === DomainState.PAUSED) return { verdict: OK, summary: `The agent of "${nodeName}" reports it paused: ${pausedReason || message || "no reason was given"}` };
  const shallEnd = powerOf(vm).intent !== PowerIntent.RUN || vm.metadata!.deletionTimestamp !== undefined;
  const wanted = shallEnd ? state === DomainState.GONE : state === DomainState.RUNNING;
  return { verdict: wanted ? OK : WAITING, summary: `The agent of "${nodeName}" reports it ${stateName(state)}` };
}

const STATES: Record<DomainState, string> = {
  [DomainState.UNRECOGNIZED]: "in an unknown state",
  [DomainState.UNSPECIFIED]: "in no state",
  [DomainState.PREPARING]: "being prepared",
  [DomainState.RUNNING]: "running",
  [DomainState.PAUSED]: "paused",
  [DomainState.SHUTTING_DOWN]: "shutting down",
  [DomainState.SHUTOFF]: "off",
  [DomainState.CRASHED]: "crashed",
  [DomainState.START_FAILED]: "not startable",
  [DomainState.GONE]: "gone",
};
const stateName = (state: DomainState): string => STATES[state] ?? "in an unknown state";

function libvirtStep({ instance, node, domain }: Evidence): Finding {
  const status = instance?.status;
  if (!status || status.nodeName === "") return nothingYet(instance);
  if (node?.status?.session?.state !== NodeSessionState.CONNECTED) return { verdict: UNKNOWN, summary: "Nobody can ask it while the agent is silent" };
  const report = node.status.report;
  if (report && !report.hypervisorConnected) {
    return { verdict: HELD, summary: `libvirt on "${status.nodeName}" cannot be reached: ${report.hypervisorMessage || "no reason was given"}` };
  }
  if (!domain) return { verdict: UNKNOWN, summary: "It was not asked" };
  if ("failed" in domain) {
    if (domain.failed === "agent") return { verdict: UNKNOWN, summary: "The agent was not there to ask it" };
    return { verdict: HELD, summary: `libvirt on "${status.nodeName}" did not answer: ${domain.message}` };
  }
  const state = status.ownerReport?.state;
  const expected = state === DomainState.RUNNING || state === DomainState.PAUSED;
  if (!domain.exists) return { verdict: expected ? HELD : WAITING, summary: "libvirt knows no such domain" };
  const details = [`domain ${domain.name}, epoch ${domain.epoch}, job ${domain.job || "none"}`];
  const moves = status.migration !== undefined && standsStillToMove(domain);
  const verdict = domain.state === "running" ? OK : expected && !moves ? HELD : WAITING;
  return { verdict, summary: `libvirt says ${domain.state}${domain.reason && ` (${domain.reason})`}`, details };
}
