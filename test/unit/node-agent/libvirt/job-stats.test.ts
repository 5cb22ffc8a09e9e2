import assert from "node:assert/strict";
import { jobOperation, jobType } from "../../../../node-agent/libvirt/constants.ts";
import { jobStats } from "../../../../node-agent/libvirt/job-stats.ts";

describe("job statistics", () => {
  it("name the job and carry only the figures that are there", () => {
    const parameters = new Map<string, unknown>([["operation", jobOperation.MIGRATION_OUT], ["memory_total", 5], ["downtime", 0], ["unheard_of", 1], ["errmsg", "x"]]);
    assert.deepEqual(jobStats(jobType.UNBOUNDED, parameters), { kind: "migration-out", memoryTotalBytes: 5, downtimeMs: 0 });
    assert.deepEqual(jobStats(jobType.UNBOUNDED, new Map([["operation", jobOperation.MIGRATION_IN]])), { kind: "migration-in" });
    assert.deepEqual(jobStats(jobType.BOUNDED, new Map([["operation", jobOperation.DUMP]])), { kind: "other" });
    assert.deepEqual(jobStats(jobType.NONE, new Map()), { kind: "none" });
  });
});
