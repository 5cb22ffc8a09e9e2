/**
 * All that happens to a fleet besides itself, made up front from a seed: what users do, what breaks, and when. A part of a
 * plan is a plan, so that a failing one can be made smaller.
 */
import { RunStrategy } from "../../../gen/drover/v1/virtual_machine.ts";
import type { Weather } from "../network/network.ts";
import { Chance } from "../world/chance.ts";
import { ALL_CELLS, ALL_FAILPOINTS, CELLS, FAILPOINTS, PHASES } from "./cells.ts";
import type { Harm, MovePhase, Party } from "./cells.ts";

export const NODES = ["a", "b", "c"] as const;
export type NodeName = (typeof NODES)[number];

export type When =
  | { atMs: number }
  /** When that migration comes to the phase, if it does. */
  | { move: number; phase: MovePhase; delayMs: number };

export type Verb =
  | { verb: "start" | "stop" | "force-stop" | "restart" | "delete" | "guest-ends" | "guest-stalls"; machine: number }
  /** Of the machine, or of the next one that runs. Its number is what else is planned for it. */
  | { verb: "migrate"; machine: number; to: NodeName | ""; move: number }
  | { verb: "cancel"; machine: number }
  | { verb: "cordon" | "uncordon" | "confirm-fenced"; node: NodeName };
export type Fault =
  | { party: Party; harm: Harm; node: NodeName; /** The other end of a link. */ other: NodeName; forMs: number }
  /** `life`: a program's name, or ANY_AGENT. */
  | { party: "failpoint"; life: string; point: string; nth: number };
export type Step = { when: When } & ({ act: "verb"; verb: Verb } | { act: "fault"; fault: Fault });

export type MachinePlan = { name: string; strategy: RunStrategy; /** Machines with the same image want the same disk. */ image: string; createdMs: number };

export type Plan = {
  seed: number;
  machines: MachinePlan[];
  /** More than one stand in line, and the first decides. */
  controllers: number;
  steps: Step[];
  /** How fast each program's clock runs. */
  drift: Record<string, number>;
  weather: Weather;
};

/** Faults and users' wishes end here. */
export const HEAL_MS = 240_000;
/** The fleet is as it was wished within this after it. */
export const CONVERGE_MS = 60_000;
export const END_MS = HEAL_MS + CONVERGE_MS + 5_000;
/** The hosts that stay off are stated to be so, this long after the healing began. */
export const FENCE_MS = 20_000;

/** Whichever agent comes to the failpoint first. */
export const ANY_AGENT = "agent/*";

const MACHINES = 7;
const BEGIN_MS = 12_000;
/** Of a migration for which nothing else is planned. */
const SECOND = -1;
/** Of a seed's migrations, how many meet what it is the seed's turn to meet: each cell comes up four times in 300 seeds. */
const AIMED = 3;

export function planOf(seed: number): Plan {
  const chance = new Chance(seed, "plan");
  const machines = Array.from({ length: MACHINES }, (_, index) => machineOf(chance, index));
  return {
    seed,
    machines,
    controllers: chance.happens(0.25) ? 2 : 1,
    steps: [...moves(chance, seed), ...wishes(chance), ...troubles(chance), ...unheard(chance), ...aimedFailpoint(chance, seed), ...fencedAndBack(seed)],
    drift: Object.fromEntries(["api-server", "controller", "controller-2", ...NODES.map((node) => `agent/${node}`)].map((name) => [name, 1 + chance.between(-0.01, 0.01)])),
    weather: { delayMs: [0.2, 3], spike: 0.02, spikeMs: chance.pick([20, 200, 1_000]), loss: chance.pick([0, 0, 0.0005]), duplicate: chance.pick([0, 0.02, 0.1, 0.2]), lateMs: chance.pick([200, 3_000, 12_000]) },
  };
}

/** The last two want one disk. */
function machineOf(chance: Chance, index: number): MachinePlan {
  const strategies = [RunStrategy.ALWAYS, RunStrategy.ALWAYS, RunStrategy.ALWAYS, RunStrategy.RERUN_ON_FAILURE, RunStrategy.MANUAL, RunStrategy.HALTED, RunStrategy.ONCE];
  const strategy = index < 4 ? RunStrategy.ALWAYS : chance.pick(strategies);
  return { name: `m${index}`, strategy, image: index >= MACHINES - 2 ? "contested" : `disk-${index}`, createdMs: chance.between(0, 4_000) };
}

/**
 * Each migration meets something on its way: the first ones a loss that it is the seed's turn to show, the others a loss of
 * one of their parties, a wish of a user, or nothing.
 */
function moves(chance: Chance, seed: number): Step[] {
  const count = 4 + chance.below(5);
  return Array.from({ length: count }, (_, index) => {
    const atMs = BEGIN_MS + (index * (HEAL_MS - 50_000)) / count + chance.between(0, 12_000);
    const machine = chance.below(5);
    const migrate: Step = { when: { atMs }, act: "verb", verb: { verb: "migrate", machine, to: chance.happens(0.7) ? "" : chance.pick(NODES), move: index } };
    if (index < AIMED) return [migrate, aimedLoss(chance, index, seed)];
    const meets = Array.from({ length: chance.pick([0, 1, 1, 1, 2, 3]) }, () => meeting(chance, machine, index));
    return [migrate, ...meets, ...(chance.happens(0.25) ? tellsAndTakesBack(chance, machine, index) : [])];
  }).flat();
}

/** Cell after cell, seed after seed, so that none is left to luck. */
function aimedLoss(chance: Chance, move: number, seed: number): Step {
  const turn = seed + move * Math.round(ALL_CELLS.length / AIMED);
  const { phase, party, harm } = ALL_CELLS[turn % ALL_CELLS.length]!;
  return { when: { move, phase, delayMs: chance.pick([0, 0, 2]) }, act: "fault", fault: lossOf(chance, party, harm) };
}

/** Whoever comes to it first from then on. */
function aimedFailpoint(chance: Chance, seed: number): Step[] {
  const { program, point } = ALL_FAILPOINTS[seed % ALL_FAILPOINTS.length]!;
  const when = { atMs: chance.between(BEGIN_MS, HEAL_MS - 90_000) };
  return [{ when, act: "fault", fault: { party: "failpoint", life: program === "agent" ? ANY_AGENT : program, point, nth: 1 } }];
}

/**
 * A host is stated to be off, its machines begin elsewhere, and it comes back with what it had: a leftover, which is all
 * that the failpoint of the agent's journal is passed for here. One seed in nine, with that failpoint's own among them.
 */
function fencedAndBack(seed: number): Step[] {
  if (seed % 9 !== 0) return [];
  const chance = new Chance(seed, "plan/fenced");
  const [node, atMs] = [chance.pick(NODES), chance.between(30_000, 90_000)];
  return [
    { when: { atMs }, act: "fault", fault: { party: "source-host", harm: "power-off", node, other: node, forMs: chance.pick([20_000, 35_000]) } },
    { when: { atMs: atMs + chance.between(1_000, 5_000) }, act: "verb", verb: { verb: "confirm-fenced", node } },
  ];
}

/** What a verb is about is the machine that the migration came to be of. */
function meeting(chance: Chance, machine: number, move: number): Step {
  const when: When = { move, phase: chance.pick(PHASES), delayMs: chance.pick([0, 0, 5, 50, 400, 2_500]) };
  if (chance.happens(0.3)) {
    const verb = chance.pick(["cancel", "cancel", "cancel", "stop", "force-stop", "restart", "delete", "migrate", "guest-ends", "guest-stalls"] as const);
    return { when, act: "verb", verb: verb === "migrate" ? { verb, machine, to: chance.pick(NODES), move: SECOND } : { verb, machine } };
  }
  return { when, act: "fault", fault: faultOf(chance) };
}

/** Its owner has much to say while the migration is taken back, so that some of it is heard under the epoch after. */
function tellsAndTakesBack(chance: Chance, machine: number, move: number): Step[] {
  const phase = chance.pick(["preparing", "ready"] as const);
  const delayMs = chance.pick([0, 50, 400]);
  return [
    { when: { move, phase, delayMs }, act: "verb", verb: { verb: "guest-stalls", machine } },
    { when: { move, phase, delayMs: delayMs + chance.between(100, 2_000) }, act: "verb", verb: { verb: "cancel", machine } },
  ];
}

function wishes(chance: Chance): Step[] {
  const at = () => ({ atMs: chance.between(BEGIN_MS, HEAL_MS - 5_000) });
  const machine = () => chance.below(MACHINES);
  const power = Array.from({ length: 5 + chance.below(5) }, (): Step => {
    const verb = chance.pick(["start", "start", "start", "stop", "stop", "restart", "restart", "force-stop", "guest-ends", "delete"] as const);
    return { when: at(), act: "verb", verb: { verb, machine: machine() } };
  });
  const stalls = Array.from({ length: 4 }, (): Step => ({ when: at(), act: "verb", verb: { verb: "guest-stalls", machine: machine() } }));
  power.push(...stalls);
  if (!chance.happens(0.4)) return power;
  return [...power, { when: at(), act: "verb", verb: { verb: chance.pick(["cordon", "uncordon"]), node: chance.pick(NODES) } }];
}

function troubles(chance: Chance): Step[] {
  return Array.from({ length: 5 + chance.below(5) }, (): Step => ({ when: { atMs: chance.between(BEGIN_MS, HEAL_MS - 10_000) }, act: "fault", fault: faultOf(chance) }));
}

/** A program hears late, and then is not heard any more: what it believes of its standing has to end before others' belief. */
function unheard(chance: Chance): Step[] {
  if (!chance.happens(0.5)) return [];
  const atMs = chance.between(BEGIN_MS, HEAL_MS - 40_000);
  const party = chance.pick(["controller", "controller", "source-agent"] as const);
  const [node, other] = [chance.pick(NODES), NODES[0]];
  const fault = (harm: Harm, forMs: number): Pick<Extract<Step, { act: "fault" }>, "act" | "fault"> => ({ act: "fault", fault: { party, harm, node, other, forMs } });
  return [
    { when: { atMs }, ...fault("late-from", 25_000) },
    { when: { atMs: atMs + chance.between(4_000, 9_000) }, ...fault("cut-to", chance.pick([9_000, 12_000, 18_000])) },
  ];
}

const PARTIES = Object.keys(CELLS) as Party[];

function faultOf(chance: Chance): Fault {
  if (chance.happens(0.2)) {
    const program = chance.pick(Object.keys(FAILPOINTS));
    const life = program === "agent" ? `agent/${chance.pick(NODES)}` : program;
    return { party: "failpoint", life, point: chance.pick(FAILPOINTS[program]!), nth: 1 + chance.below(3) };
  }
  const party = chance.pick(PARTIES);
  return lossOf(chance, party, chance.pick(CELLS[party]));
}

function lossOf(chance: Chance, party: Party, harm: Harm): Fault {
  const node = chance.pick(NODES);
  const other = chance.pick(NODES.filter((name) => name !== node));
  return { party, harm, node, other, forMs: chance.pick([300, 2_000, 7_000, 12_000, 20_000, 35_000]) };
}
