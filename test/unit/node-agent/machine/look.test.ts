/** Which events a look already shows, and what may be done upon a look that was made earlier. */
import assert from "node:assert/strict";
import { lifecycleNames, suspendedDetail } from "../../../../node-agent/libvirt/constants.ts";
import { confirms, differs, isSwitchOver, needsFreshLook } from "../../../../node-agent/machine/look.ts";
import type { LifecycleNews } from "../../../../node-agent/machine/look.ts";
import type { Seen } from "../../../../node-agent/machine/observed.ts";

const running: Seen = { uuid: "u", name: "n", state: "running", reason: "booted", persistent: true };
const told = (event: LifecycleNews["event"], detail = 0): LifecycleNews => ({ type: "lifecycle", uuid: "u", name: "n", event, detail });

describe("a look at a domain", () => {
  it("shows already what the events of its start tell, and nothing else", () => {
    assert.deepEqual(lifecycleNames.filter((event) => confirms(told(event), running)), ["defined", "started", "resumed"]);
  });

  it("does not show that the guest came from elsewhere, went on with post-copy, or was defined anew", () => {
    for (const event of ["defined", "started", "resumed"] as const) assert.ok(!confirms(told(event, 1), running), event);
    assert.ok(!confirms(told("resumed", 3), running));
  });

  it("shows no event of a start when the guest does not run or would not be kept", () => {
    for (const seen of [undefined, { ...running, state: "shutoff" as const }, { ...running, state: "paused" as const }, { ...running, persistent: false }]) {
      assert.ok(!confirms(told("started"), seen), JSON.stringify(seen));
    }
  });

  it("is not made while the guest stands still for the switch-over of a call that is under way", () => {
    const details = Object.entries(suspendedDetail).filter(([, detail]) => isSwitchOver(told("suspended", detail), { call: "outstanding" }));
    assert.deepEqual(details.map(([name]) => name), ["MIGRATED"]);
    assert.deepEqual(lifecycleNames.filter((event) => isSwitchOver(told(event, suspendedDetail.MIGRATED), { call: "outstanding" })), ["suspended"]);
    for (const source of [undefined, { call: "none" }, { call: "returned" }, { call: "lost" }] as const) assert.ok(!isSwitchOver(told("suspended", 1), source));
  });

  it("differs by everything that a decision reads", () => {
    const identity = { namespace: "d", vm: "v", vmUid: "1", vmiUid: "2", epoch: 1, generation: 1 };
    const seen = { ...running, identity };
    assert.ok(!differs({ ...seen }, seen));
    assert.ok(!differs(undefined, undefined));
    const others: (Seen | undefined)[] = [
      undefined, { ...seen, state: "paused" }, { ...seen, reason: "unpaused" }, { ...seen, persistent: false },
      { ...seen, identity: { ...identity, epoch: 2 } }, { ...seen, identity: undefined },
    ];
    for (const other of others) assert.ok(differs(other, seen), JSON.stringify(other));
  });

  it("must be made anew before anything is changed", () => {
    assert.ok(!needsFreshLook({ do: "wait" }));
    for (const action of [{ do: "start" }, { do: "destroy", why: "" }, { do: "remove-stray" }, { do: "look-up" }] as const) assert.ok(needsFreshLook(action));
  });
});
