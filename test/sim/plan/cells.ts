/**
 * The space of faults: every harm of every party in every phase of a migration, and every failpoint. Plans aim at each of
 * them in turn, and the release run fails on one that was never met.
 */

/** Where a migration is, as the machine's record and libvirt have it. */
export const PHASES = ["preparing", "ready", "running", "switchover", "finalizing"] as const;
export type MovePhase = (typeof PHASES)[number];

/** What can be lost, and how. A party of a migration is named by its part in it. */
export const CELLS = {
  controller: ["crash", "pause", "cut", "cut-to", "cut-from", "late-from"],
  "api-server": ["crash", "pause", "disk-full", "disk-fails", "disk-slow"],
  "source-agent": ["crash", "pause", "cut", "cut-to", "cut-from", "late-from", "reset"],
  "target-agent": ["crash", "pause", "cut", "cut-to", "cut-from", "late-from", "reset"],
  "source-driver": ["crash", "pause"],
  "target-driver": ["crash", "pause"],
  "source-libvirtd": ["crash", "pause"],
  "target-libvirtd": ["crash", "pause"],
  "source-qemu": ["crash"],
  "target-qemu": ["crash"],
  "source-host": ["power-off"],
  "target-host": ["power-off"],
  link: ["cut"],
  network: ["foul"],
} as const satisfies Record<string, readonly string[]>;
export type Party = keyof typeof CELLS;
export type Harm = (typeof CELLS)[Party][number];

/** The target has no QEMU before libvirt is called, and the call waits until the record says so, which is running. */
const IMPOSSIBLE: ReadonlySet<string> = new Set(["preparing target-qemu crash", "ready target-qemu crash"]);

export type Cell = { phase: MovePhase; party: Party; harm: Harm };
export const nameOf = ({ phase, party, harm }: Cell): string => `${phase} ${party} ${harm}`;

export const ALL_CELLS: readonly Cell[] = PHASES.flatMap((phase) =>
  (Object.keys(CELLS) as Party[]).flatMap((party) => CELLS[party].map((harm) => ({ phase, party, harm })))).filter((cell) => !IMPOSSIBLE.has(nameOf(cell)));

/** By program. */
export const FAILPOINTS: Record<string, readonly string[]> = {
  "api-server": ["api-server.commit.before", "api-server.commit.after", "api-server.audit.before", "api-server.audit.after"],
  agent: [
    ...["launch", "destroy", "undefine", "setMetadata", "migrate", "abortJob", "shutdown"].flatMap((what) => [`node-agent.${what}.before`, `node-agent.${what}.after`]),
    "node-agent.journal.before", "node-agent.ending.before", "node-agent.ending.after", "node-agent.door.before", "node-agent.door.after",
    "node-agent.call.before", "node-agent.call.after",
  ],
  controller: ["controller.call.before", "controller.call.after"],
};

export type Failpoint = { program: string; point: string };
export const ALL_FAILPOINTS: readonly Failpoint[] = Object.entries(FAILPOINTS).flatMap(([program, points]) => points.map((point) => ({ program, point })));
