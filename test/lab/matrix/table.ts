/**
 * The kill matrix on one screen: every phase of a migration, every party that can be lost in it, every way to lose it; which
 * of these cells cannot be and why; and how a migration may end in each of the others. Pure.
 */
/** Those of the table in controller/migration/phases.ts, and Switchover, the part of Running in which the guest stands still. */
export const PHASES = ["Pending", "Scheduling", "PreparingTarget", "TargetReady", "Running", "Switchover", "Finalizing"] as const;
export const PARTIES = [
  "controller", "api-server", "source-agent", "target-agent", "source-driver", "target-driver", "source-libvirtd", "target-libvirtd",
  "source-qemu", "target-qemu", "source-host", "target-host", "door", "passage", "source-link", "target-link",
] as const;
/** Killed and started again; stopped past every deadline and continued; the wire cut both ways, from the host, to the host. */
export const FAULTS = ["kill", "stop", "cut", "cut-out", "cut-in"] as const;

export type Phase = (typeof PHASES)[number];
export type Party = (typeof PARTIES)[number];
export type Fault = (typeof FAULTS)[number];
export type Cell = { phase: Phase; party: Party; fault: Fault };

type Pattern = { phases?: readonly Phase[]; parties?: readonly Party[]; faults?: readonly Fault[] };

const CUTS: readonly Fault[] = ["cut", "cut-out", "cut-in"];
const LINKS: readonly Party[] = ["source-link", "target-link"];
const OF_TARGET: readonly Party[] = ["target-agent", "target-driver", "target-libvirtd", "target-qemu", "target-host", "target-link", "door"];
const CONTROL: readonly Party[] = ["controller", "api-server", "source-agent", "target-agent", "source-driver", "target-driver"];
const CARRIERS: readonly Party[] = ["source-libvirtd", "target-libvirtd", "target-qemu", "target-host", "door", "passage"];

/** The first that fits says why a cell is not there. */
const EXCLUSIONS: readonly (Pattern & { why: string })[] = [
  { parties: LINKS, faults: ["kill", "stop"], why: "a wire is cut, it neither dies nor stops" },
  { parties: PARTIES.filter((party) => !LINKS.includes(party)), faults: CUTS, why: "what is cut is a wire: see source-link and target-link" },
  { phases: ["Pending"], why: "nothing but a place in the queue tells it from Scheduling, whose lines of the table are the same" },
  { phases: ["Scheduling"], parties: OF_TARGET, why: "no target is chosen yet" },
  { phases: ["Scheduling", "PreparingTarget", "TargetReady"], parties: ["passage"], why: "the source opens it when it begins" },
  { phases: ["PreparingTarget"], parties: ["door"], why: "the door is open once the target is ready" },
  { phases: ["PreparingTarget", "TargetReady"], parties: ["target-qemu"], why: "libvirt starts it when the source begins" },
  { phases: ["Finalizing"], parties: ["door", "passage"], why: "both end with libvirt's connection" },
  { phases: ["Finalizing"], parties: ["source-qemu"], why: "it has ended: the guest has moved" },
];

/** How the story may end: the phase, and for Failed the reason. `restart`: the guest is lost and the run strategy boots it again. */
export type Ends = { ends: readonly string[]; restart: boolean };

const failed = (...reasons: string[]) => reasons.map((reason) => `Failed ${reason}`);
const GUEST: readonly Party[] = ["source-qemu", "source-host"];
const MOVED_GUEST: readonly Party[] = ["target-qemu", "target-host"];
const WITHOUT_GUEST = failed("NOT_RUNNING", "INSTANCE_GONE", "SOURCE_FENCED", "MACHINE_STOPPING", "GUEST_LOST");

/** The first that fits. */
const ENDS: readonly (Pattern & { ends: readonly string[]; restart?: true })[] = [
  { phases: ["Scheduling"], parties: GUEST, faults: ["kill"], ends: [...WITHOUT_GUEST, ...failed("NO_TARGET")], restart: true },
  { phases: ["Scheduling"], ends: failed("NO_TARGET") },
  { phases: ["PreparingTarget"], parties: GUEST, faults: ["kill"], ends: [...WITHOUT_GUEST, ...failed("TARGET_NOT_READY", "SOURCE_NOT_STARTED")], restart: true },
  { phases: ["PreparingTarget"], ends: ["Succeeded", ...failed("TARGET_NOT_READY", "TARGET_REFUSED", "SOURCE_NOT_STARTED", "TRANSFER_FAILED")] },
  { phases: ["TargetReady"], parties: GUEST, faults: ["kill"], ends: [...WITHOUT_GUEST, ...failed("SOURCE_NOT_STARTED")], restart: true },
  { phases: ["TargetReady"], ends: ["Succeeded", ...failed("TARGET_REFUSED", "SOURCE_NOT_STARTED", "TRANSFER_FAILED")] },
  { phases: ["Running"], parties: CONTROL, ends: ["Succeeded"] },
  { phases: ["Running"], parties: GUEST, faults: ["kill"], ends: failed("GUEST_LOST"), restart: true },
  { phases: ["Running"], parties: CARRIERS, faults: ["kill"], ends: failed("TRANSFER_FAILED") },
  { phases: ["Running"], ends: ["Succeeded", ...failed("TRANSFER_FAILED")] },
  { phases: ["Switchover"], parties: GUEST, faults: ["kill"], ends: failed("GUEST_LOST"), restart: true },
  { phases: ["Switchover"], parties: MOVED_GUEST, faults: ["kill"], ends: failed("TRANSFER_FAILED") },
  { phases: ["Switchover"], ends: ["Succeeded", ...failed("TRANSFER_FAILED")] },
  { phases: ["Finalizing"], parties: MOVED_GUEST, faults: ["kill"], ends: ["Succeeded"], restart: true },
  { phases: ["Finalizing"], ends: ["Succeeded"] },
];

const fits = ({ phase, party, fault }: Cell, { phases = PHASES, parties = PARTIES, faults = FAULTS }: Pattern): boolean =>
  phases.includes(phase) && parties.includes(party) && faults.includes(fault);

export const nameOf = ({ phase, party, fault }: Cell): string => `${phase}/${party}/${fault}`;

export const everyCombination: readonly Cell[] = PHASES.flatMap((phase) => PARTIES.flatMap((party) => FAULTS.map((fault) => ({ phase, party, fault }))));

/** Why there can be no such cell; undefined where there is one. */
export const exclusionOf = (cell: Cell): string | undefined => EXCLUSIONS.find((pattern) => fits(cell, pattern))?.why;

export function endsOf(cell: Cell): Ends {
  const row = ENDS.find((pattern) => fits(cell, pattern));
  if (!row) throw new Error(`Nothing says how ${nameOf(cell)} may end`);
  return { ends: row.ends, restart: row.restart ?? false };
}

/** What has to be run. */
export const cells: readonly Cell[] = everyCombination.filter((cell) => exclusionOf(cell) === undefined);

/** The cells of a list of names with commas, in which a "*" stands for any part. */
export function cellsNamed(names: string): readonly Cell[] {
  const named = names.split(",").flatMap((name) => {
    const wanted = name.split("/");
    const found = cells.filter((cell) => wanted.length === 3 && nameOf(cell).split("/").every((part, index) => wanted[index] === "*" || wanted[index] === part));
    if (found.length === 0) throw new Error(`No cell is named "${name}": it is Phase/party/fault, such as "Running/*/kill"`);
    return found;
  });
  return [...new Set(named)];
}
