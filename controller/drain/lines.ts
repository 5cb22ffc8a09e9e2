/**
 * A drain on one screen: for each planned action, the first line whose facts all hold says how far the machine is and what
 * is done next. Facts come from the records; nothing is remembered but which target and how many attempts, so that a new
 * controller goes on where the last one stood. A line that stops a machine stands under STOP alone.
 */
import { DrainAction, DrainItemState, DrainReason } from "../../gen/drover/v1/node.ts";

export const FACTS = [
  /** Nothing of the run is on the node any more. */
  "gone",
  /** And it runs on another one. */
  "elsewhere",
  /** Uncordoned: nothing is begun any more. */
  "ended",
  /** The node does not answer. */
  "silent",
  /** It is being stopped or deleted, or has ended. */
  "ending",
  /** A migration brings it to the node. */
  "arriving",
  /** A migration that moves it away is open. */
  "moving",
  /** A drain of this node has made that. */
  "own",
  /** It waits for its turn. */
  "queued",
  /** Its source has begun: from there on it is let run to its end. */
  "begun",
  /** Nobody can know how it stands. */
  "unknown",
  "cancel-asked",
  "not-running",
  "paused",
  "not-migratable",
  /** Its eviction strategy keeps it where it is. */
  "keeps",
  /** Somebody cancelled its latest migration. */
  "cancelled",
  /** Its latest migration to the target failed, or was refused. */
  "failed",
  /** Not so long ago that it is tried again. */
  "backing-off",
  /** It has no target, or that cannot take it any more. */
  "target-lost",
  /** Only since a moment: it may come back. */
  "held",
  /** No node can take it. */
  "no-other",
  /** Machines of the drain are moving, or will soon. */
  "others-first",
] as const;
export type Fact = (typeof FACTS)[number];

export type Move =
  | "nothing"
  /** Makes its migration to the target. */
  | "migrate"
  /** Gives it another target, and says so. */
  | "retarget"
  /** Ends its migration, which has not begun. */
  | "cancel"
  /** Ends its run. */
  | "stop"
  /** Decides anew what is done with it, but never to stop it: nobody has seen that planned. */
  | "plan";

type KnownAction = Exclude<DrainAction, typeof DrainAction.UNSPECIFIED | typeof DrainAction.UNRECOGNIZED>;
export type State = Exclude<DrainItemState, typeof DrainItemState.UNSPECIFIED | typeof DrainItemState.UNRECOGNIZED>;
type Line = { when: readonly Fact[]; move?: Move; to: State; reason?: DrainReason };

const { PENDING, RUNNING, DONE, FAILED, CANCELLED, BLOCKED } = DrainItemState;

const gone: readonly Line[] = [
  { when: ["gone", "elsewhere"], to: DONE, reason: DrainReason.MOVED },
  { when: ["gone"], to: DONE, reason: DrainReason.STOPPED },
];

const ended: readonly Line[] = [
  { when: ["ended", "moving", "own", "begun"], to: RUNNING, reason: DrainReason.DRAIN_ENDED },
  { when: ["ended", "moving", "own", "cancel-asked"], to: RUNNING, reason: DrainReason.DRAIN_ENDED },
  { when: ["ended", "moving", "own"], move: "cancel", to: RUNNING, reason: DrainReason.DRAIN_ENDED },
  { when: ["ended"], to: CANCELLED, reason: DrainReason.DRAIN_ENDED },
];

/** It is on its way, whoever saw to that. */
const leaving: readonly Line[] = [
  { when: ["ending", "silent"], to: BLOCKED, reason: DrainReason.NODE_SILENT },
  { when: ["ending"], to: RUNNING, reason: DrainReason.ENDING },
  { when: ["arriving"], to: PENDING, reason: DrainReason.ARRIVING },
  { when: ["moving", "unknown"], to: BLOCKED, reason: DrainReason.NODE_SILENT },
  { when: ["moving", "queued"], to: PENDING, reason: DrainReason.QUEUED },
  { when: ["moving", "own"], to: RUNNING },
  { when: ["moving"], to: RUNNING, reason: DrainReason.MIGRATING },
  { when: ["silent"], to: BLOCKED, reason: DrainReason.NODE_SILENT },
];

const moved: readonly Line[] = [
  { when: ["keeps"], to: BLOCKED, reason: DrainReason.STRATEGY_NONE },
  { when: ["not-migratable"], to: BLOCKED, reason: DrainReason.NOT_MIGRATABLE },
  { when: ["paused"], to: BLOCKED, reason: DrainReason.PAUSED },
  { when: ["not-running"], to: PENDING, reason: DrainReason.NOT_RUNNING },
  { when: ["cancelled"], to: BLOCKED, reason: DrainReason.MIGRATION_CANCELLED },
  { when: ["target-lost", "no-other"], to: BLOCKED, reason: DrainReason.NO_TARGET },
  { when: ["target-lost", "held"], to: PENDING, reason: DrainReason.TARGET_LOST },
  { when: ["target-lost"], move: "retarget", to: PENDING, reason: DrainReason.TARGET_LOST },
  { when: ["failed", "backing-off"], to: FAILED, reason: DrainReason.MIGRATION_FAILED },
  { when: [], move: "migrate", to: PENDING, reason: DrainReason.QUEUED },
];

export const lines = {
  [DrainAction.MIGRATE]: [...gone, ...ended, ...leaving, ...moved],
  // What holds it up may end; then it is moved, and never stopped.
  [DrainAction.BLOCKED]: [...gone, ...ended, ...leaving, ...moved],
  [DrainAction.STOP]: [
    ...gone,
    { when: ["ended", "ending"], to: RUNNING, reason: DrainReason.ENDING },
    ...ended,
    ...leaving,
    { when: ["others-first"], to: PENDING },
    { when: [], move: "stop", to: RUNNING, reason: DrainReason.ENDING },
  ],
  [DrainAction.WAIT_EXTERNAL]: [...gone, ...ended, ...leaving, { when: [], to: BLOCKED, reason: DrainReason.EXTERNAL }],
  [DrainAction.STAY]: [...gone, ...ended, ...leaving, { when: [], move: "plan", to: PENDING }],
} as const satisfies Record<KnownAction, readonly Line[]>;

export type Step = { move: Move; to: State; reason: DrainReason };

/** Undefined for an action of a newer version: it is left as it is. */
export function next(action: DrainAction, holds: (fact: Fact) => boolean): Step | undefined {
  if (!Object.hasOwn(lines, action)) return undefined;
  const all: readonly Line[] = lines[action as KnownAction];
  const line = all.find(({ when }) => when.every(holds))!;
  return { move: line.move ?? "nothing", to: line.to, reason: line.reason ?? DrainReason.UNSPECIFIED };
}
