/**
 * The hosts of the model: agents that decide by the real function on what they were told and see, and act; libvirt's job;
 * what may be lost, and how it comes back.
 */
import { LookupMachineResponse } from "../../../gen/drover/agent/v1/agent.ts";
import type { Assignment } from "../../../gen/drover/agent/v1/agent.ts";
import { DomainState, MigrationMode, MigrationSourceReport, MigrationSourceState, MigrationTargetReport, MigrationTargetState, OwnerReport } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { roleOf } from "../../../api-server/sessions/roles.ts";
import { decide } from "../../../node-agent/machine/decide.ts";
import type { Action } from "../../../node-agent/machine/decide.ts";
import type { Memory, Observed, SourceMemory, TargetMemory } from "../../../node-agent/machine/observed.ts";
import { QUIET_MS, newSourceMemory, wordOf } from "../../../node-agent/migration/source.ts";
import { newTargetMemory } from "../../../node-agent/migration/target.ts";
import type { Step } from "../explore.ts";
import type { Mutant } from "./mutants.ts";
import { agentName, bootOf, isConnected, keyOf, newAgent, NO_DOMAIN, NODES, recordOf, seen, withHost } from "./state.ts";
import type { Agent, Domain, Host, State } from "./state.ts";
import { say, without, unpack } from "./word.ts";
import type { Said } from "./word.ts";

const isLive = ({ life }: Domain): boolean => life === "running" || life === "paused";

export function agentSteps(state: State, mutant: Mutant | undefined): Step<State>[] {
  return state.hosts.flatMap((host, index) => {
    const { agent } = host;
    if (!host.on || !agent) return [];
    const found: Step<State>[] = [];
    if (!host.cut && !host.behind && agent.view !== state.record) found.push({ name: `${NODES[index]} is told the record`, to: told(state, index, agent) });
    if (host.behind) found.push({ name: `${NODES[index]} is told what has changed`, to: withHost(state, index, { behind: false }) });
    if (agent.view === undefined) return found;
    const source = agent.memory.source;
    if (source?.quietSinceMs !== undefined && !agent.waited && state.call?.stage !== "queued") {
      found.push({ name: `${NODES[index]} has waited for a second look`, to: withAgent(state, index, { waited: true }) });
    }
    const turn = { state, index, host, agent, mutant };
    const acted = act(turn, decideFor(turn));
    if (acted) found.push(acted);
    return found;
  });
}

function told(state: State, index: number, agent: Agent): State {
  return withHost(state, index, { agent: { ...agent, view: state.record }, fenced: false });
}

type Turn = { state: State; index: number; host: Host; agent: Agent; mutant: Mutant | undefined };

const decisions = new WeakMap<Host, Map<string, Action>>();

/** The same observation gives the same decision, so it is asked for once. */
function decideFor(turn: Turn): Action {
  const { state, index, host, mutant } = turn;
  const job = state.call && state.call.stage !== "queued" ? (state.call.from === index ? "migration-out" : "migration-in") : "none";
  const known = decisions.get(host) ?? new Map<string, Action>();
  decisions.set(host, known);
  const key = `${index}/${job}/${mutant}`;
  const action = known.get(key) ?? decide(observedBy(turn, job));
  known.set(key, action);
  return action;
}

function observedBy({ state, index, host, agent, mutant }: Turn, kind: "none" | "migration-in" | "migration-out", looksUp = false): Observed {
  const instance = recordOf(agent.view!);
  const role = instance && roleOf(instance, NODES[index]!);
  const assignment: Assignment | undefined = role === undefined ? undefined : { instance, role, _unknownFields: {} } as Assignment;
  const domain = seen(host.domain);
  const targetEpoch = instance?.status.migration?.targetEpoch;
  if (mutant === "epoch check removed" && domain?.identity && targetEpoch !== undefined) domain.identity = { ...domain.identity, epoch: targetEpoch };
  return {
    self: { nodeName: NODES[index]!, boot: bootOf(host), agentInstance: agentName(index, agent) },
    assignment, domain, job: { kind }, memory: agent.memory, lookup: looksUp ? lookup(state, mutant) : undefined,
    synced: true, hold: false, nowMs: agent.waited ? QUIET_MS : 0,
  };
}

/** Always of the present: a look-up is a linearizable read. */
function lookup({ record, tombstone }: State, mutant: Mutant | undefined): LookupMachineResponse {
  const instance = recordOf(record);
  if (mutant !== "kill while a migration is open" || !instance) return LookupMachineResponse.create({ instance, tombstone });
  const status = { ...instance.status, migration: undefined, epoch: instance.status.lastGrantedEpoch + 1 };
  return LookupMachineResponse.create({ instance: { ...instance, status }, tombstone });
}

function withAgent(state: State, index: number, change: Partial<Agent>): State {
  return withHost(state, index, { agent: { ...state.hosts[index]!.agent!, ...change } });
}

const remember = (state: State, index: number, change: Partial<Memory>): State =>
  withAgent(state, index, { memory: { ...state.hosts[index]!.agent!.memory, ...change } });

function grantOf({ agent }: Turn) {
  return recordOf(agent.view!)!.status.migration!;
}

function source(turn: Turn): SourceMemory {
  const { uid } = grantOf(turn);
  const { source: known } = turn.agent.memory;
  return known?.uid === uid ? known : newSourceMemory(uid);
}

function target(turn: Turn): TargetMemory {
  const { uid } = grantOf(turn);
  const { target: known } = turn.agent.memory;
  return known?.uid === uid ? known : newTargetMemory(uid);
}

function speak({ state, index, agent }: Turn, epoch: number, said: Said): State {
  return say(state, { host: index, by: agent.instance, epoch, version: String(agent.view), late: false, said });
}

type To = State | undefined;

function act(turn: Turn, action: Action): Step<State> | undefined {
  const to = doing(turn, action);
  return to && { name: `${NODES[turn.index]}: ${action.do}${"state" in action ? ` ${action.state}` : ""}`, to };
}

function doing(turn: Turn, action: Action): To {
  const { state, index, host, agent, mutant } = turn;
  if (isMoving(action)) return moving(turn, action);
  const epoch = agent.view === 0 ? 0 : recordOf(agent.view!)!.status.epoch;
  switch (action.do) {
    case "wait":
    case "leave-foreign":
    case "ask-shutdown":
      return undefined;
    case "claim":
      return mutant === "claim skipped" ? started(turn, epoch) : onlyNew(state, speak(turn, epoch, { kind: "claim" }));
    case "start":
      return started(turn, epoch);
    case "report": {
      const report = OwnerReport.create({ ...action.word, generation: 1 + state.words.length });
      return remember(speak(turn, epoch, { kind: "owner", report }), index, { reported: action.word });
    }
    case "finish": {
      const word = { state: DomainState.GONE, reason: action.ending.reason, pausedReason: "" };
      const report = OwnerReport.create({ ...word, generation: 99 });
      const gone = removed(speak(turn, epoch, { kind: "owner", report }), index);
      return onlyNew(state, remember(gone, index, { ended: action.ending, reported: word }));
    }
    case "destroy":
      return removed(state, index, { life: "crashed", epoch: host.domain.epoch });
    case "repair-epoch":
      return withHost(state, index, { domain: { ...host.domain, epoch: action.epoch } });
    case "look-up": {
      const found = decide(observedBy(turn, "none", true));
      return found.do === "remove-stray" ? removed(state, index) : undefined;
    }
    case "remove-stray":
      return removed(state, index);
    case "forget":
      return onlyNew(state, withAgent(state, index, { ...newAgent(agent.instance), view: agent.view }));
    // Of copied disks, of policies that slow or stop a guest, and of post-copy there is nothing here.
    case "offer-disks":
    case "set-downtime":
    case "pause-guest":
    case "start-post-copy":
    case "mend-post-copy":
    case "drop-half":
      throw new Error(`The model does not know the action ${action.do}`);
  }
}

/** A step that changes nothing is none. */
const onlyNew = (before: State, after: State): To => (keyOf(before) === keyOf(after) ? undefined : after);

function started({ state, index }: Turn, epoch: number): State {
  return { ...remember(withHost(state, index, { domain: { life: "running", epoch } }), index, { started: true }), ran: epoch };
}

/**
 * Takes a domain away. Nobody asks for that here but by a fence, so the guest must live on elsewhere. What stands still at
 * a source that has handed its machine over is no guest any more.
 */
function removed(state: State, index: number, left: Domain = NO_DOMAIN): State {
  const { domain } = state.hosts[index]!;
  const elsewhere = state.hosts.some((other, at) => at !== index && isLive(other.domain));
  const isGuest = domain.life === "running" || recordOf(state.record)?.status.nodeName === NODES[index];
  const lost = isLive(domain) && isGuest && !elsewhere && !state.tombstone;
  return { ...withHost(state, index, { domain: left }), ...(lost && { broken: "the only copy of the guest was removed, and nobody had asked for that" }) };
}

const MOVING = ["open-passage", "call", "abort", "note-quiet", "poll-progress", "say-source", "resume-guest", "prepare-incoming", "say-target"] as const;
type Moving = Extract<Action, { do: (typeof MOVING)[number] }>;

const isMoving = (action: Action): action is Moving => (MOVING as readonly string[]).includes(action.do);

function moving(turn: Turn, action: Moving): To {
  const { state, index, agent } = turn;
  const { sourceEpoch, targetEpoch, uid } = grantOf(turn);
  switch (action.do) {
    case "open-passage":
      return remember(state, index, { source: { ...source(turn), passage: { uri: "qemu+unix:///", tlsDestination: "b" } } });
    case "call":
      if (state.call) return undefined;
      return remember({ ...state, call: { stage: "queued", from: index, by: agent.instance, epoch: targetEpoch } }, index, { source: { ...source(turn), call: "outstanding" } });
    case "abort":
      return state.call?.stage === "copy" && state.call.from === index ? callFails(state) : undefined;
    case "note-quiet":
      return withAgent(remember(state, index, { source: { ...source(turn), quietSinceMs: 0 } }), index, { waited: false });
    case "poll-progress":
      return source(turn).quietSinceMs === undefined ? undefined : withAgent(remember(state, index, { source: { ...source(turn), quietSinceMs: undefined } }), index, { waited: false });
    case "say-source": {
      const { source: recorded } = grantOf(turn);
      const before = source(turn);
      // As the agent that speaks of a call which it has not made adopts it.
      const call = before.call === "none" && recorded?.state === MigrationSourceState.ISSUED ? "lost" : before.call;
      const standstill = action.also && "standstill" in action.also ? action.also.standstill : recorded?.standstill;
      const report = MigrationSourceReport.create({ state: action.state, mode: MigrationMode.PRE_COPY, standstill });
      const undefinedHere = action.state === MigrationSourceState.LEFT && turn.host.domain.life === "left" ? withHost(state, index, { domain: NO_DOMAIN }) : state;
      const said = speak({ ...turn, state: undefinedHere }, sourceEpoch, { kind: "source", migrationUid: uid, report });
      return remember(said, index, { source: { ...before, call, said: action.state, awaited: wordOf(action.also ?? {}) } });
    }
    case "resume-guest":
      return withHost(state, index, { domain: { ...turn.host.domain, life: "running" } });
    case "prepare-incoming":
      return prepared(turn);
    case "say-target": {
      const { state: word, peerGeneration } = action;
      const report = MigrationTargetReport.create({ state: word, peerGeneration, boot: bootOf(turn.host) });
      const closed = word === MigrationTargetState.ABSENT ? withHost(state, index, { door: false }) : state;
      const said = speak({ ...turn, state: closed }, targetEpoch, { kind: "target", migrationUid: uid, report });
      return remember(said, index, { target: { ...target(turn), said: word, saidPeer: peerGeneration } });
    }
  }
}

/** What an earlier stay has left may go; anything else keeps the migration out. */
function prepared(turn: Turn): State {
  const { state, index, host } = turn;
  const { uid, targetEpoch } = grantOf(turn);
  const isFree = host.domain.life === "none" || host.domain.life === "left" || host.domain.life === "crashed";
  const word = isFree ? MigrationTargetState.READY : MigrationTargetState.REFUSED;
  const opened = isFree ? withHost(state, index, { door: true, domain: NO_DOMAIN }) : state;
  const report = MigrationTargetReport.create({ state: word, boot: bootOf(host), memoryUri: "tls:b" });
  const said = speak({ ...turn, state: opened }, targetEpoch, { kind: "target", migrationUid: uid, report });
  return remember(said, index, { target: { ...target(turn), prepared: true, said: word } });
}

const other = (index: number): number => 1 - index;

/** The call is over; whoever made it hears of it if he still lives. */
function callEnds(state: State, error: string, how: "returned" | "lost" = "returned"): State {
  const { from, by } = state.call!;
  const over = { ...state, call: undefined };
  const { agent } = over.hosts[from]!;
  if (agent?.instance !== by || !agent.memory.source) return over;
  return remember(over, from, { source: { ...agent.memory.source, call: how, error, returnedMs: 0, complete: error === "" } });
}

/** libvirt gives up before the target runs: its copy goes, and the guest goes on at the source. */
function callFails(state: State, resumes = true): State {
  const { from } = state.call!;
  const target = other(from);
  const here = state.hosts[from]!.domain;
  const goesOn: Domain = here.life === "paused" && resumes ? { ...here, life: "running" } : here;
  const back = withHost(withHost(state, from, { domain: goesOn }), target, { domain: state.hosts[target]!.domain.life === "incoming" ? NO_DOMAIN : state.hosts[target]!.domain });
  return callEnds(back, "failed");
}

export function libvirtSteps(state: State): Step<State>[] {
  const { call } = state;
  if (!call) return [];
  const { from, stage, epoch } = call;
  const [here, there] = [state.hosts[from]!, state.hosts[other(from)]!];
  if (stage === "queued") {
    const begins = here.domain.life === "running" && there.on && there.door && there.domain.life === "none";
    if (!begins) return [{ name: "libvirt refuses the call", to: callEnds(state, "refused") }];
    const arriving = withHost(state, other(from), { domain: { life: "incoming", epoch } });
    return [{ name: "libvirt begins to copy", to: { ...arriving, call: { ...call, stage: "copy" } } }];
  }
  if (stage === "copy") {
    if (here.domain.life !== "running" || there.domain.life !== "incoming") return [{ name: "libvirt finds the copy broken", to: callFails(state) }];
    return [{ name: "libvirt stops the guest for the switch-over", to: { ...withHost(state, from, { domain: { ...here.domain, life: "paused" } }), call: { ...call, stage: "switch" } } }];
  }
  if (stage === "switch") {
    if (there.domain.life !== "incoming") return [{ name: "libvirt finds the target gone", to: callFails(state) }];
    return [{ name: "libvirt starts the guest at the target", to: { ...withHost(state, other(from), { domain: { ...there.domain, life: "running" } }), ran: epoch, call: { ...call, stage: "arrived" } } }];
  }
  const gone = here.domain.life === "paused" ? withHost(state, from, { domain: NO_DOMAIN }) : state;
  return [{ name: "libvirt ends the source's domain", to: callEnds(gone, "") }];
}

/** What may be lost, each at any moment. */
export function faults(state: State): Step<State>[] {
  if (state.faultsLeft === 0) return [];
  const spent = { ...state, faultsLeft: state.faultsLeft - 1 };
  const ofHosts = state.hosts.flatMap((host, index): Step<State>[] => {
    if (!host.on) return [];
    const name = NODES[index];
    return [
      { name: `${name}: its power is cut`, to: powerCut(spent, index) },
      ...(host.agent ? [true, false].map((late) => ({ name: `${name}: its agent dies, ${late ? "its words under way" : "its words with it"}`, to: agentDies(spent, index, late) })) : []),
      ...(host.cut ? [] : [{ name: `${name}: its link is cut`, to: withHost(spent, index, { cut: true }) }]),
      ...(host.agent?.view === undefined || host.behind ? [] : [
        { name: `${name}: is told no changes any more`, to: withHost(spent, index, { behind: true }) },
        { name: `${name}: is told the record as it was at first`, to: withHost(spent, index, { behind: true, agent: { ...host.agent, view: state.first } }) },
      ]),
      ...(host.domain.life === "none" ? [] : [{ name: `${name}: somebody removes its domain by hand`, to: withHost(spent, index, { domain: NO_DOMAIN }) }]),
      ...(isLive(host.domain) || host.domain.life === "incoming" ? [{ name: `${name}: its QEMU dies`, to: qemuDies(spent, index) }] : []),
      ...libvirtDies(spent, index),
    ];
  });
  const cut = state.call?.stage === "copy" ? [{ name: "the stream of memory breaks", to: callFails(spent) }] : [];
  return [...ofHosts, ...cut];
}

function agentDies(state: State, index: number, late: boolean): State {
  const silent = late ? state : state.words.filter((text) => unpack(text).host === index).reduce(without, state);
  return withHost(silent, index, { agent: undefined, door: false });
}

function qemuDies(state: State, index: number): State {
  const { domain } = state.hosts[index]!;
  return withHost(state, index, { domain: domain.life === "incoming" ? NO_DOMAIN : { ...domain, life: "crashed" } });
}

function powerCut(state: State, index: number): State {
  const { domain } = state.hosts[index]!;
  const left: Domain = domain.life === "none" || domain.life === "incoming" ? NO_DOMAIN : { ...domain, life: domain.life === "left" ? "left" : "crashed" };
  const off = withHost(agentDies(state, index, false), index, { on: false, domain: left });
  const { call } = off;
  if (!call) return off;
  if (call.from === index) return { ...callEnds(off, "", "lost"), hosts: arrivalLost(off, call).hosts };
  return call.stage === "arrived" ? callEnds(off, "the target's end was lost") : off;
}

/** Without its source an arriving domain goes, unless it runs already. */
function arrivalLost(state: State, { from }: NonNullable<State["call"]>): State {
  const there = state.hosts[other(from)]!;
  return there.domain.life === "incoming" ? withHost(state, other(from), { domain: NO_DOMAIN }) : state;
}

/** Where nobody can know whether the target got its order to run, both ends of the story are walked. */
function libvirtDies(state: State, index: number): Step<State>[] {
  const { call } = state;
  if (!call) return [];
  const name = `${NODES[index]}: its libvirtd dies`;
  const { from, stage } = call;
  if (from === index) {
    const lost = callEnds(state, "connection lost", "lost");
    if (stage === "queued" || stage === "arrived") return [{ name, to: lost }];
    const alone = arrivalLost(lost, call);
    const resumed = withHost(alone, from, { domain: { ...alone.hosts[from]!.domain, life: "running" } });
    return stage === "copy" ? [{ name, to: alone }] : [{ name: `${name}, and resumes the guest`, to: resumed }, { name: `${name}, and leaves the guest stopped`, to: alone }];
  }
  if (stage === "queued") return [];
  if (stage === "copy") return [{ name, to: callFails(state) }, { name: `${name}, and leaves what was arriving`, to: callEnds(state, "connection lost") }];
  const stops = callFails(state, false);
  const there = state.hosts[index]!.domain;
  const arrived = there.life === "incoming" ? { ...withHost(state, index, { domain: { ...there, life: "running" } }), ran: there.epoch } : state;
  const runs = callEnds(arrived, "the target's end was lost");
  return [...(stage === "switch" ? [{ name: `${name} before the target runs`, to: stops }] : []), { name: `${name} when the target runs`, to: runs }];
}

/** Everything that comes back, and what a person does about what does not. */
export function returns(state: State): Step<State>[] {
  return state.hosts.flatMap((host, index): Step<State>[] => {
    const name = NODES[index];
    const found: Step<State>[] = [];
    if (!host.on) found.push({ name: `${name}: is switched on`, to: withHost(state, index, { on: true, boot: host.boot + 1 }) });
    if (!host.on && !host.fenced && !isConnected(host)) found.push({ name: `${name}: is confirmed fenced`, to: withHost(state, index, { fenced: true }) });
    if (host.on && !host.agent) found.push({ name: `${name}: its agent starts`, to: withHost(state, index, { agents: host.agents + 1, agent: newAgent(host.agents + 1) }) });
    if (host.cut) found.push({ name: `${name}: its link is mended`, to: withHost(state, index, { cut: false }) });
    return found;
  });
}
