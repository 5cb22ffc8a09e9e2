/**
 * The control plane of the model: the controller's real decisions and the api-server's real rules, on the model's records.
 * A controller may die after any write, so a step makes the first one only, and the next step derives what is left.
 */
import { ObjectMeta } from "../../../gen/drover/v1/meta.ts";
import { VirtualMachineInstanceMigrationSpec, VirtualMachineInstanceMigrationStatus } from "../../../gen/drover/v1/migration.ts";
import { NodeFence, NodeSession, NodeSessionState, NodeSpec, NodeStatus } from "../../../gen/drover/v1/node.ts";
import { MigrationOptions, Phase, ReleaseReason } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { Volume, VolumeHolder, VolumeStatus } from "../../../gen/drover/v1/volume.ts";
import { claim } from "../../../api-server/subresources/claim.ts";
import { mergeSourceReport, mergeTargetReport } from "../../../api-server/subresources/migration-report.ts";
import { mergeOwnerReport } from "../../../api-server/subresources/owner-report.ts";
import { release } from "../../../api-server/subresources/release.ts";
import type { Action } from "../../../controller/actions.ts";
import { decide as decideInstance } from "../../../controller/instance/decide.ts";
import { MIGRATION_BUDGETS } from "../../../controller/migration/budgets.ts";
import { decide as decideMigration } from "../../../controller/migration/decide.ts";
import type { Evidence } from "../../../controller/migration/facts.ts";
import { isOpen } from "../../../controller/migration/story.ts";
import { isFenced, isSilent } from "../../../controller/node/liveness.ts";
import type { Instance, Migration, NodeRecord } from "../../../controller/objects.ts";
import { isFinal } from "../../../controller/virtual-machine/run-end.ts";
import { FailedPrecondition } from "../../../lib/errors.ts";
import type { Step } from "../explore.ts";
import type { Mutant } from "./mutants.ts";
import { agentName, bootOf, isConnected, migrations, newInstance, NODES, NOW, put, recordOf, withHost } from "./state.ts";
import type { Host, State } from "./state.ts";
import { pack, unpack, without } from "./word.ts";
import type { Word } from "./word.ts";

const LATE_MS = 1_000_000;
/** Longer than a phase that is over in a moment, shorter than any limit. */
const SOON_MS = 1_000;

function nodeOf(name: string, host: Host): NodeRecord {
  const state = isConnected(host) ? NodeSessionState.CONNECTED : NodeSessionState.SILENT;
  const fence = host.fenced ? NodeFence.create({ id: "fence", reason: "power was cut" }) : undefined;
  return { metadata: ObjectMeta.create({ name, uid: `uid-${name}` }), spec: NodeSpec.create(), status: NodeStatus.create({ session: NodeSession.create({ state }), fence }) };
}

const nodeIn = (state: State, name: string): NodeRecord | undefined => {
  const index = NODES.indexOf(name as (typeof NODES)[number]);
  return index < 0 ? undefined : nodeOf(name, state.hosts[index]!);
};

export const migrationsOf = (state: State): Migration[] => state.migrations.map((number) => migrations.get(number)!);

/** Writes the machine's record, and looks that nothing in it went back. */
export function write(state: State, instance: Instance): State {
  const before = recordOf(state.record)!.status;
  const { epoch, lastGrantedEpoch } = instance.status;
  const wentBack = epoch < before.epoch || lastGrantedEpoch < before.lastGrantedEpoch || epoch > lastGrantedEpoch;
  const handsOver = instance.status.migration?.handedOff && state.ran !== epoch;
  const blind = handsOver && { broken: "it was handed over to a node at which its guest never ran" };
  return { ...state, record: put(instance), ...blind, ...(wentBack && { broken: `an epoch went back: ${before.epoch}/${before.lastGrantedEpoch} to ${epoch}/${lastGrantedEpoch}` }) };
}

export function controlSteps(state: State, mutant: Mutant | undefined): Step<State>[] {
  const instance = recordOf(state.record);
  return [
    ...[false, true].flatMap((late) => migrationStep(state, { instance, late, mutant })),
    ...(instance ? instanceStep(state, instance) : []),
    ...state.words.flatMap((text) => delivery(state, text, mutant)),
  ];
}

type Looking = { instance: Instance | undefined; late: boolean; mutant: Mutant | undefined };

/** The same records give the same decision, so it is asked for once. */
const decided = new Map<string, Action | undefined>();

function firstAction(state: State, { instance, late, mutant }: Looking): Action | undefined {
  const key = `${mutant}/${late}/${state.record}/${state.migrations.join()}/${state.hosts.map((host) => `${isConnected(host)}${host.fenced}`).join()}`;
  if (!decided.has(key)) {
    const evidence = (migration: Migration) => evidenceOf(state, { instance, migration, late });
    const { actions } = decideMigration({ instance, migrations: migrationsOf(state), machineExists: true, evidence, seen: () => NOW, now: NOW });
    decided.set(key, actions.find(({ do: what }) => what === "put-instance" || what === "put-migration"));
  }
  return decided.get(key);
}

function migrationStep(state: State, { instance, late, mutant }: Looking): Step<State>[] {
  const first = firstAction(state, { instance, late, mutant });
  if (!first) return [];
  return [{ name: `controller${late ? ", when time is over" : ""}: ${nameOf(first)}`, to: carriedOut(state, first, mutant) }];
}

function evidenceOf(state: State, { instance, migration, late }: { instance: Instance | undefined; migration: Migration; late: boolean }): Evidence {
  const open = instance?.status.migration;
  const grant = open?.uid === migration.metadata.uid ? open : undefined;
  const target = nodeIn(state, migration.spec.targetNode)!;
  const reachable = !isSilent(target);
  return {
    migration, instance, grant, behind: false, place: 0, hold: undefined, expectedStart: () => undefined,
    target: { chosen: reachable ? { name: target.metadata.name, node: target, load: { memoryBytes: 0, cpus: 0, machines: 0, inbound: 0, outbound: 0 } } : undefined, reasons: {} } as Evidence["target"],
    options: () => MigrationOptions.create(),
    node: (name) => nodeIn(state, name),
    forecast: () => undefined,
    volume: () => undefined,
    elapsedMs: () => (late ? LATE_MS : SOON_MS),
    budgets: MIGRATION_BUDGETS,
  };
}

function nameOf(action: Action): string {
  if (action.do === "put-migration") return `tells phase ${action.migration.status.phase}`;
  if (action.do !== "put-instance") return action.do;
  const { epoch, nodeName, migration } = action.instance.status;
  return `record: ${nodeName} under epoch ${epoch}${migration ? `, moving${migration.handedOff ? ", handed off" : ""}` : ""}`;
}

function carriedOut(state: State, action: Action, mutant: Mutant | undefined): State {
  if (action.do === "put-migration") {
    const uid = action.migration.metadata.uid;
    return { ...state, migrations: state.migrations.map((number) => (migrations.get(number)!.metadata.uid === uid ? migrations.put(action.migration) : number)) };
  }
  if (action.do !== "put-instance") return state;
  return write(state, mutant === "revoke without burning an epoch" ? unburned(recordOf(state.record)!, action.instance) : action.instance);
}

/** As if taking a migration out of the record were enough. */
function unburned(before: Instance, after: Instance): Instance {
  const grant = before.status.migration;
  if (!grant || grant.handedOff || after.status.migration) return after;
  const { epoch, lastGrantedEpoch, claim: owner, ownerReport } = before.status;
  return { ...after, status: { ...after.status, epoch, lastGrantedEpoch, claim: owner, ownerReport } };
}

/** What the loops of instance and machine do: free what nobody claimed, delete and release what is over. */
function instanceStep(state: State, instance: Instance): Step<State>[] {
  const { status, metadata } = instance;
  if (status.nodeName === "") return [{ name: "controller: binds it to b", to: write(state, boundTo(NODES[1], instance)) }];
  if (isFinal(instance) && !metadata.deletionTimestamp && !status.migration) return [{ name: "controller: deletes the run that is over", to: write(state, deleted(instance)) }];
  const node = nodeIn(state, status.nodeName);
  const { actions } = decideInstance({
    instance, node, silent: isSilent(node), fenced: isFenced(node), crowdedOut: false, snapshot: () => [], volume: () => undefined, volumesOfImage: () => [], now: NOW,
  });
  return actions.flatMap((action): Step<State>[] => {
    if (action.do === "delete-instance") return [{ name: "controller: deletes what the fence gave up", to: write(state, deleted(instance)) }];
    if (action.do === "release-instance") return released(state, instance, action.reason);
    if (action.do === "put-instance" && action.instance.status.nodeName === "") return [{ name: "controller: takes it from the silent node", to: write(state, action.instance) }];
    return [];
  });
}

const deleted = (instance: Instance): Instance => ({ ...instance, metadata: { ...instance.metadata, deletionTimestamp: NOW } });

function boundTo(nodeName: string, instance: Instance): Instance {
  const { status } = instance;
  const epoch = status.lastGrantedEpoch + 1;
  return { ...instance, status: { ...status, phase: Phase.SCHEDULED, nodeName, epoch, lastGrantedEpoch: epoch, heldVolumes: ["data"] } };
}

function released(state: State, instance: Instance, reason: ReleaseReason): Step<State>[] {
  const node = nodeIn(state, instance.status.nodeName);
  const free = accepted(() => release(instance, { uid: instance.metadata.uid, reason, vm: undefined, node }));
  if (!free) return [];
  return [{ name: "controller: releases the run", to: { ...state, record: 0, tombstone: state.tombstone || reason === ReleaseReason.FENCED } }];
}

type Taken = VirtualMachineInstance | undefined;

/** "refused", or what the record becomes; undefined when it says so already. */
function judged(work: () => Taken): Taken | "refused" {
  try {
    return work();
  } catch (error) {
    if (error instanceof FailedPrecondition) return "refused";
    throw error;
  }
}

function accepted(work: () => Taken): Taken {
  const answer = judged(work);
  return answer === "refused" ? undefined : answer;
}

function delivery(state: State, text: string, mutant: Mutant | undefined): Step<State>[] {
  const word = unpack(text);
  if (state.hosts[word.host]!.cut) return [];
  const name = `${agentName(word.host, { instance: word.by })}'s ${word.said.kind} arrives`;
  const arrived = taken(without(state, text), word, mutant);
  const again: State = { ...taken(without(state, text), word, mutant), faultsLeft: state.faultsLeft - 1 };
  const copy = JSON.stringify({ ...word, late: true });
  return [
    { name, to: arrived },
    ...(state.faultsLeft > 0 && !word.late ? [{ name: `${name}, and will again`, to: { ...again, words: [...again.words, copy].toSorted() } }] : []),
  ];
}

function taken(state: State, word: Word, mutant: Mutant | undefined): State {
  const instance = recordOf(state.record);
  // Only the agent that the session is of is heard.
  const answer = instance && word.by === state.hosts[word.host]!.agents ? judgment(state, { word, instance, mutant }) : "refused";
  if (answer === "refused") return toldOfRefusal(state, word);
  return answer ? write(state, answer as Instance) : state;
}

type Hearing = { word: Word; instance: Instance; mutant: Mutant | undefined };

const judgments = new Map<string, ReturnType<typeof judged>>();

function judgment(state: State, hearing: Hearing): ReturnType<typeof judged> {
  const { word, mutant } = hearing;
  const key = `${mutant}/${state.record}/${state.hosts[word.host]!.boot}/${pack({ ...word, version: "", late: false })}`;
  if (!judgments.has(key)) judgments.set(key, judged(() => merged(state, hearing)));
  return judgments.get(key);
}

function merged(state: State, { word: { host, by, epoch, said }, instance, mutant }: Hearing): Taken {
  const [nodeName, agentInstance, vmiUid] = [NODES[host]!, agentName(host, { instance: by }), "vmi-1"];
  const heard = mutant === "epoch check removed" ? instance.status.epoch : epoch;
  const reporter = { nodeName, agentInstance, vmiUid, epoch: heard, now: NOW };
  switch (said.kind) {
    case "claim":
      return claim(instance, { ...reporter, boot: bootOf(state.hosts[host]!), volumes: [volumeOf(state)] });
    case "owner":
      return mergeOwnerReport(instance, said.report, reporter);
    case "source":
      return mergeSourceReport(instance, said.report, { ...reporter, epoch, migrationUid: said.migrationUid });
    case "target":
      return mergeTargetReport(instance, said.report, { ...reporter, epoch, migrationUid: said.migrationUid });
  }
}

/** It is not said again before the record changes. */
function toldOfRefusal(state: State, { host, by, version, said }: Word): State {
  const { agent } = state.hosts[host]!;
  if (agent?.instance !== by) return state;
  const { source, target } = agent.memory;
  const forgotten = {
    claim: {}, owner: { reported: undefined }, source: { source: source && { ...source, said: undefined, awaited: "" } }, target: { target: target && { ...target, said: undefined } },
  }[said.kind];
  return withHost(state, host, { agent: { ...agent, memory: { ...agent.memory, ...forgotten, refusedAt: version } } });
}

/** The disk is the first machine's until its run is released. */
const volumeOf = (state: State): Volume => Volume.create({ status: VolumeStatus.create({ holder: VolumeHolder.create({ vmiUid: state.record === 0 ? "vmi-2" : "vmi-1" }) }) });

const OTHER = newInstance("vmi-2", NODES[1]);

/** Another machine is bound to b with the same disk, and its agent asks for it. */
export function otherMachine(state: State, mutant: Mutant | undefined): Step<State>[] {
  if (state.other === "runs" || !state.hosts[1].on) return [];
  const key = `${mutant}/${state.record === 0}/${state.hosts[1].boot}`;
  if (!taking.has(key)) taking.set(key, mayTake(state, mutant));
  return taking.get(key) ? [{ name: "another machine claims the disk and starts on b", to: { ...state, other: "runs" } }] : [];
}

const taking = new Map<string, boolean>();

function mayTake(state: State, mutant: Mutant | undefined): boolean {
  const volume = mutant === "volume holder skipped" ? Volume.create({ status: VolumeStatus.create({ holder: VolumeHolder.create({ vmiUid: "vmi-2" }) }) }) : volumeOf(state);
  const got = accepted(() => claim(OTHER, { nodeName: NODES[1], vmiUid: "vmi-2", epoch: 1, boot: bootOf(state.hosts[1]), agentInstance: "other", volumes: [volume] }));
  return got !== undefined;
}

export function userSteps(state: State): Step<State>[] {
  const instance = recordOf(state.record);
  const open = migrationsOf(state).filter(isOpen);
  const found: Step<State>[] = [];
  if (instance && open.length === 0 && state.migrationsLeft > 0 && instance.status.phase === Phase.RUNNING && !instance.status.migration) {
    const targetNode = NODES.find((name) => name !== instance.status.nodeName)!;
    const uid = `m${state.migrations.length + 1}`;
    const migration: Migration = {
      metadata: ObjectMeta.create({ name: uid, namespace: "default", uid }),
      spec: VirtualMachineInstanceMigrationSpec.create({ vmiName: "vmi-1", targetNode }),
      status: VirtualMachineInstanceMigrationStatus.create(),
    };
    found.push({ name: `a user moves it to ${targetNode}`, to: { ...state, migrations: [...state.migrations, migrations.put(migration)], migrationsLeft: state.migrationsLeft - 1 } });
  }
  if (state.cancelsLeft > 0) {
    for (const migration of open.filter(({ status }) => !status.cancelRequested)) {
      const cancelled = migrations.put({ ...migration, status: { ...migration.status, cancelRequested: true } });
      const numbers = state.migrations.map((number) => (migrations.get(number) === migration ? cancelled : number));
      found.push({ name: "a user cancels", to: { ...state, migrations: numbers, cancelsLeft: state.cancelsLeft - 1 } });
    }
  }
  return found;
}

