import assert from "node:assert/strict";
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import { faultsOf, recordIsTrue, TRUTH_WITHIN_MS } from "./faults.ts";
import { Machine } from "./machine.ts";
import { withFleet } from "./with-fleet.ts";

describe("a part is killed while a guest runs", () => {
  const fleet = withFleet();
  let machine: Machine;
  before(async () => {
    machine = await Machine.running(fleet(), "steady");
  });

  const names = ["api-server", "controller", "agent a", "driver of agent a", "libvirtd a", "agent b", "driver of agent b", "libvirtd b"];
  for (const name of names) {
    it(`${name}: the guest goes on, and the record is true again within ${TRUTH_WITHIN_MS / 1000} s`, async () => {
      const fault = faultsOf(fleet(), ["a", "b"]).find((candidate) => candidate.name === name)!;
      const before = await machine.tick(() => true);
      await fault.strike();
      await fault.mend();
      await recordIsTrue(fleet(), machine);
      await machine.assertUnharmed(before);
    });
  }

  it("everything at once: the guest goes on", async () => {
    const before = await machine.tick(() => true);
    const faults = faultsOf(fleet(), ["a", "b"]).filter(({ name }) => !name.startsWith("driver"));
    await Promise.all(faults.map((fault) => fault.strike()));
    for (const fault of [...faults].sort((left, right) => Number(right.name.startsWith("libvirtd")) - Number(left.name.startsWith("libvirtd")))) await fault.mend();
    await Promise.all(["a", "b"].map((name) => fleet().nodeReady(name)));
    await machine.assertUnharmed(before);
  });

  it("a frozen libvirtd does not stall the agent's session, nor the other node's machines", async () => {
    const node = await machine.node();
    const { libvirtd } = fleet().lab.host(node);
    libvirtd.stop();
    try {
      const until = Date.now() + 15_000;
      while (Date.now() < until) {
        const { node: record } = await fleet().api.nodes.getNode({ name: node });
        assert.equal(record!.status!.session!.state, NodeSessionState.CONNECTED, "the lease was renewed all the time");
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    } finally {
      libvirtd.cont();
    }
    await fleet().nodeReady(node);
    await machine.assertUnharmed(await machine.tick(() => true));
  });
});
