/** Rules that can be taken away from the model: each is one that Drover is said to need. */
import { MigrationPhase, MigrationReason } from "../../../gen/drover/v1/migration.ts";
import { phases } from "../../../controller/migration/phases.ts";
import type { Fact, Move } from "../../../controller/migration/phases.ts";

export type Mutant =
  | "epoch check removed"
  | "revoke without burning an epoch"
  | "deadline after ISSUED"
  | "domain not found at the source is an order"
  | "handoff on LEFT without RUNNING"
  | "kill while a migration is open"
  | "claim skipped"
  | "volume holder skipped";

type Line = { when: readonly Fact[]; move?: Move; to: MigrationPhase; reason?: MigrationReason };

const { RUNNING, FINALIZING, FAILED } = MigrationPhase;

/** Lines that go before all others of the phase. */
const lines: Partial<Record<Mutant, Line>> = {
  // In the model time is over whenever the controller looks.
  "deadline after ISSUED": { when: ["issued"], move: "revoke", to: FAILED, reason: MigrationReason.TRANSFER_FAILED },
  "domain not found at the source is an order": { when: ["source-left"], move: "revoke", to: FAILED, reason: MigrationReason.GUEST_LOST },
  "handoff on LEFT without RUNNING": { when: ["source-left"], move: "hand-off", to: FINALIZING },
};

/** While `work` runs, the table of phases has the mutant's line. */
export function withMutant<T>(mutant: Mutant | undefined, work: () => T): T {
  const line = mutant && lines[mutant];
  if (!line) return work();
  const table = phases[RUNNING] as unknown as Line[];
  table.unshift(line);
  try {
    return work();
  } finally {
    table.shift();
  }
}
