/**
 * The handoff of a machine as Drover does it: the controller's, the api-server's and the agents' own deciding functions, on
 * a libvirt, a network and hosts that lose anything at any moment. No order of it may let two guests write to the disk,
 * take an epoch back, lose a guest because something was not known, or end without an owner or a word on what it waits for.
 */
import { isOpen } from "../../../controller/migration/story.ts";
import { isFinal } from "../../../controller/virtual-machine/run-end.ts";
import type { Model, Step } from "../explore.ts";
import { controlSteps, migrationsOf, otherMachine, userSteps } from "./control.ts";
import { agentSteps, faults, libvirtSteps, returns } from "./hosts.ts";
import type { Mutant } from "./mutants.ts";
import { isConnected, keyOf, NODES, promptly, recordOf, startOf } from "./state.ts";
import type { Beginning, State } from "./state.ts";

type Kinds = "goes on" | "returns" | "happens";
type Walked = Step<State> & { kind: Kinds };

const of = (kind: Kinds, steps: Step<State>[]): Walked[] => steps.map((step) => ({ ...step, kind }));

export function handoff({ mutant, ...beginning }: Beginning & { mutant?: Mutant }): Model<State> {
  return {
    start: startOf(beginning),
    steps: (state) => {
      if (state.broken !== undefined) return [];
      const walked = [
        ...of("goes on", [...controlSteps(state, mutant), ...agentSteps(state, mutant), ...libvirtSteps(state)]),
        ...of("returns", returns(state)),
        ...of("happens", [...userSteps(state), ...otherMachine(state, mutant), ...faults(state)]),
      ];
      return beginning.lags ? walked : walked.map((step) => ({ ...step, to: promptly(step.to) }));
    },
    key: keyOf,
    fault: (state, steps) => state.broken ?? doubleRun(state) ?? lostByRecord(state) ?? badRest(state, steps as Walked[]),
  };
}

function doubleRun({ hosts, other }: State): string | undefined {
  const writers = hosts.filter(({ domain }) => domain.life === "running").length + (other === "runs" ? 1 : 0);
  return writers > 1 ? "two guests run that write to the disk" : undefined;
}

function lostByRecord(state: State): string | undefined {
  const instance = recordOf(state.record);
  const runs = state.hosts.some(({ domain }) => domain.life === "running");
  if (!runs || (instance && !isFinal(instance))) return undefined;
  return "the record says that the run is over, and its guest runs";
}

/** Nothing moves any more: there is one owner and nothing beside it, or it is said whose word is waited for. */
function badRest(state: State, steps: readonly Walked[]): string | undefined {
  if (steps.some(({ kind, to }) => kind === "goes on" && keyOf(to) !== keyOf(state))) return undefined;
  const instance = recordOf(state.record);
  const open = migrationsOf(state).filter(isOpen);
  const isBack = !steps.some(({ kind }) => kind === "returns");
  if (open.length > 0) {
    const waits = open.every(({ status }) => status.waitingFor.length > 0 || status.reason !== 0);
    return !isBack && waits ? undefined : `a migration rests in phase ${open[0]!.status.phase} and waits for ${open[0]!.status.waitingFor.join() || "nobody"}`;
  }
  if (instance?.status.migration) return "a migration stands in the machine's record, and its own has ended";
  // What no record speaks of any more is reported and left alone.
  if (!instance) return undefined;
  const beside = state.hosts.findIndex(({ domain }, index) => domain.life !== "none" && NODES[index] !== instance.status.nodeName);
  if (beside >= 0 && isConnected(state.hosts[beside]!)) return `something is left on ${NODES[beside]} for good`;
  if (isFinal(instance)) return undefined;
  const owner = state.hosts[NODES.indexOf(instance.status.nodeName as (typeof NODES)[number])]!;
  return !isConnected(owner) || owner.domain.life === "running" ? undefined : "the owner is there, and its guest does not run";
}
