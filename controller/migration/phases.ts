/**
 * A live migration on one screen: in each phase, the first line whose facts all hold says what is done to the machine's
 * record and how the story goes on. Facts come from the records alone; `late` is the only one that time brings, and no
 * line behind the source's word that it begins asks for it. From the handoff on there is no way back.
 */
import { MigrationPhase, MigrationReason } from "../../gen/drover/v1/migration.ts";
import type { KnownPhase } from "./story.ts";

export const FACTS = [
  /** The user asked to end it. */
  "cancelled",
  /** The machine is being stopped or deleted. */
  "stopping",
  /** There is no such run, or it is another one. */
  "instance-gone",
  /** The guest does not run, or has ended. */
  "not-running",
  "not-migratable",
  /** The machine's record carries another migration, or an older one is open. */
  "occupied",
  /** The limits leave no room. */
  "no-slot",
  "no-target",
  /** The phase has lasted longer than it may. */
  "late",
  /** The machine's record no longer carries this migration, which had been admitted. */
  "grant-gone",
  /** Nothing of the target's node can be alive. */
  "target-fenced",
  "source-fenced",
  "target-ready",
  "target-refused",
  /** The guest runs at the target. */
  "target-running",
  /** The target has no domain, and looked after the source's last word. */
  "target-absent",
  /** The source has said that it begins; it has not said how that ended. */
  "issued",
  "source-stayed",
  /** The guest is not at the source any more: it left, or it died. */
  "source-left",
  "source-ended",
  "abort-asked",
  /** The source has given up by itself, since the transfer did not converge. */
  "gave-up",
  /** The guest has begun to run at the target, and its memory follows: it cannot be had back. */
  "post-copy",
  /** Post-copy broke, and either host has a half of the guest. */
  "post-copy-broken",
  /** The machine's record names the target as owner. */
  "at-target",
  /** After the handoff: the source has tidied up, has had time for it, or cannot answer. */
  "tidied",
] as const;
export type Fact = (typeof FACTS)[number];

/** What is done to the machine's record. */
export type Move =
  | "nothing"
  /** Enters this migration, if no other is entered. */
  | "admit"
  /** Makes the target the owner. */
  | "hand-off"
  /** Tells the source to abort. */
  | "abort"
  /** Writes down for a fenced source that its guest ended. */
  | "testify"
  /** Takes this migration out and makes its grant worthless. */
  | "revoke"
  /** Takes this migration out after the handoff. */
  | "close";

type Line = { when: readonly Fact[]; move?: Move; to: KnownPhase; reason?: MigrationReason };

const { PENDING, SCHEDULING, PREPARING_TARGET, TARGET_READY, RUNNING, FINALIZING, SUCCEEDED, FAILED, CANCELLED } = MigrationPhase;

/** Before anything is entered in the machine's record. */
const beforeAdmission: readonly Line[] = [
  { when: ["cancelled"], to: CANCELLED, reason: MigrationReason.CANCELLED },
  { when: ["instance-gone"], to: FAILED, reason: MigrationReason.INSTANCE_GONE },
  { when: ["stopping"], to: FAILED, reason: MigrationReason.MACHINE_STOPPING },
  { when: ["occupied"], to: FAILED, reason: MigrationReason.ALREADY_MIGRATING },
  { when: ["not-running"], to: FAILED, reason: MigrationReason.NOT_RUNNING },
  { when: ["not-migratable"], to: FAILED, reason: MigrationReason.NOT_MIGRATABLE },
  { when: ["source-fenced"], to: FAILED, reason: MigrationReason.SOURCE_FENCED },
];

/** The record was taken out of the machine's, and what came of it was not told: the outcome that the machine shows. */
const told: readonly Line[] = [
  { when: ["grant-gone", "at-target"], to: SUCCEEDED },
  { when: ["grant-gone", "cancelled"], to: CANCELLED, reason: MigrationReason.CANCELLED },
  { when: ["grant-gone", "instance-gone"], to: FAILED, reason: MigrationReason.INSTANCE_GONE },
  { when: ["grant-gone", "not-running"], to: FAILED, reason: MigrationReason.GUEST_LOST },
  { when: ["grant-gone", "stopping"], to: FAILED, reason: MigrationReason.MACHINE_STOPPING },
];

/** Admitted, and the source has not begun: revoking races with its first word, and the loser reads again. */
const beforeIssue = (late: MigrationReason): readonly Line[] => [
  ...told,
  { when: ["grant-gone"], to: FAILED, reason: late },
  { when: ["target-running"], move: "hand-off", to: FINALIZING },
  { when: ["cancelled"], move: "revoke", to: CANCELLED, reason: MigrationReason.CANCELLED },
  { when: ["stopping"], move: "revoke", to: FAILED, reason: MigrationReason.MACHINE_STOPPING },
  { when: ["not-running"], move: "revoke", to: FAILED, reason: MigrationReason.NOT_RUNNING },
  { when: ["source-fenced"], move: "revoke", to: FAILED, reason: MigrationReason.SOURCE_FENCED },
  { when: ["target-refused"], move: "revoke", to: FAILED, reason: MigrationReason.TARGET_REFUSED },
  { when: ["target-fenced"], move: "revoke", to: FAILED, reason: MigrationReason.TARGET_NOT_READY },
  { when: ["late"], move: "revoke", to: FAILED, reason: late },
];

export const phases = {
  [PENDING]: [...beforeAdmission, { when: ["no-slot"], to: PENDING, reason: MigrationReason.QUEUED }, { when: [], to: SCHEDULING }],
  [SCHEDULING]: [
    ...beforeAdmission,
    { when: ["no-slot"], to: PENDING, reason: MigrationReason.QUEUED },
    { when: ["no-target", "late"], to: FAILED, reason: MigrationReason.NO_TARGET },
    { when: ["no-target"], to: SCHEDULING, reason: MigrationReason.NO_TARGET },
    { when: [], move: "admit", to: PREPARING_TARGET },
  ],
  [PREPARING_TARGET]: [...beforeIssue(MigrationReason.TARGET_NOT_READY), { when: ["target-ready"], to: TARGET_READY }, { when: [], to: PREPARING_TARGET }],
  [TARGET_READY]: [...beforeIssue(MigrationReason.SOURCE_NOT_STARTED), { when: [], to: TARGET_READY }],
  [RUNNING]: [
    ...told,
    { when: ["grant-gone"], to: FAILED, reason: MigrationReason.TRANSFER_FAILED },
    { when: ["target-running"], move: "hand-off", to: FINALIZING },
    { when: ["source-stayed", "cancelled"], move: "revoke", to: CANCELLED, reason: MigrationReason.CANCELLED },
    { when: ["source-stayed", "stopping"], move: "revoke", to: FAILED, reason: MigrationReason.MACHINE_STOPPING },
    { when: ["source-stayed", "gave-up"], move: "revoke", to: FAILED, reason: MigrationReason.NOT_CONVERGING },
    { when: ["source-stayed"], move: "revoke", to: FAILED, reason: MigrationReason.TRANSFER_FAILED },
    { when: ["source-left", "target-absent"], move: "revoke", to: FAILED, reason: MigrationReason.GUEST_LOST },
    { when: ["source-left", "target-fenced"], move: "revoke", to: FAILED, reason: MigrationReason.GUEST_LOST },
    { when: ["source-ended", "target-absent"], move: "revoke", to: FAILED, reason: MigrationReason.GUEST_LOST },
    { when: ["source-ended", "target-fenced"], move: "revoke", to: FAILED, reason: MigrationReason.GUEST_LOST },
    // The half that ran is lost for certain, and the other one cannot run without it.
    { when: ["post-copy", "target-fenced"], move: "revoke", to: FAILED, reason: MigrationReason.GUEST_LOST },
    { when: ["source-fenced", "issued"], move: "testify", to: RUNNING },
    { when: ["post-copy-broken"], to: RUNNING, reason: MigrationReason.POST_COPY_BROKEN },
    { when: ["post-copy"], to: RUNNING },
    { when: ["abort-asked"], to: RUNNING },
    { when: ["cancelled", "issued"], move: "abort", to: RUNNING },
    { when: ["stopping", "issued"], move: "abort", to: RUNNING },
    { when: [], to: RUNNING },
  ],
  // No way back from here: the guest runs at the target, which owns it.
  [FINALIZING]: [
    { when: ["grant-gone"], to: SUCCEEDED },
    { when: ["tidied"], move: "close", to: SUCCEEDED },
    { when: [], to: FINALIZING },
  ],
  [SUCCEEDED]: [{ when: [], to: SUCCEEDED }],
  [FAILED]: [{ when: [], to: FAILED }],
  [CANCELLED]: [{ when: [], to: CANCELLED }],
} as const satisfies Record<KnownPhase, readonly Line[]>;

export type Step = { move: Move; to: KnownPhase; reason: MigrationReason };

export function next(phase: KnownPhase, facts: ReadonlySet<Fact>): Step {
  const lines: readonly Line[] = phases[phase];
  const line = lines.find(({ when }) => when.every((fact) => facts.has(fact)));
  return { move: line?.move ?? "nothing", to: line?.to ?? phase, reason: line?.reason ?? MigrationReason.UNSPECIFIED };
}
