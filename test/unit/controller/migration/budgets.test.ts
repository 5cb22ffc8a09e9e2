/** The budgets of a migration's phases: set by configuration, and asked for by nothing that has begun to move. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MigrationPhase } from "../../../../gen/drover/v1/migration.ts";
import { readConfig } from "../../../../controller/config.ts";
import { budgetMs, MIGRATION_BUDGETS } from "../../../../controller/migration/budgets.ts";
import { ConfigExit } from "../../../../lib/config.ts";

describe("the budgets of a migration", () => {
  const directory = mkdtempSync(join(tmpdir(), "drover-budgets-"));
  after(() => rmSync(directory, { recursive: true }));

  function configured(budgets: string) {
    const file = join(directory, "controller.yaml");
    writeFileSync(file, `server: unix:///run/drover/api.sock\nmigrations:\n  budgets: ${budgets}\n`);
    return readConfig(["--config", file]).migrations.budgets;
  }

  it("are as documented where nothing is configured", () => {
    assert.deepEqual(configured("{}"), MIGRATION_BUDGETS);
    assert.deepEqual(MIGRATION_BUDGETS, { schedulingMs: 30_000, preparingTargetMs: 30_000, targetReadyMs: 30_000, tidyMs: 10_000, orphanAfterMs: 5_000 });
  });

  it("can be shortened one by one", () => {
    const budgets = configured("{ targetReadyMs: 2000 }");
    assert.equal(budgetMs(budgets, MigrationPhase.TARGET_READY), 2_000);
    assert.equal(budgetMs(budgets, MigrationPhase.PREPARING_TARGET), MIGRATION_BUDGETS.preparingTargetMs);
  });

  it("give none to what has begun to move, whatever is configured", () => {
    for (const phase of [MigrationPhase.PENDING, MigrationPhase.RUNNING]) assert.equal(budgetMs(configured("{ schedulingMs: 100 }"), phase), Infinity);
    assert.throws(() => configured("{ runningMs: 1000 }"), (error) => error instanceof ConfigExit && error.message.includes("runningMs"));
  });

  it("refuse what is no time, with its path", () => {
    for (const wrong of ["{ tidyMs: 0 }", "{ tidyMs: 1.5 }", "{ tidyMs: soon }", "{ tidyMs: 3600001 }"]) {
      assert.throws(() => configured(wrong), (error) => error instanceof ConfigExit && error.message.includes("migrations.budgets.tidyMs"), wrong);
    }
  });
});
