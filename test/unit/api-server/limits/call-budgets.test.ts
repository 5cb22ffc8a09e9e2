/** What each caller may ask for, and who is let in last when there is too much of it. */
import assert from "node:assert/strict";
import { ResourceExhausted } from "../../../../lib/errors.ts";
import { BUDGETS, CallBudgets } from "../../../../api-server/limits/call-budgets.ts";
import type { Caller } from "../../../../api-server/objects.ts";
import { ManualClock } from "../sessions/manual-clock.ts";

const user = (name: string): Caller => ({ subject: `user/${name}`, role: "user" });
const node = (name: string): Caller => ({ subject: `node/${name}`, role: "node", node: name });
const controller: Caller = { subject: "controller", role: "control-plane" };

const unary = (path: string, options = {}) => ({ path, requestStream: false, responseStream: false, options });
const GET = unary("/drover.v1.NodeService/GetNode", { idempotencyLevel: "NO_SIDE_EFFECTS" });
const LIST = unary("/drover.v1.NodeService/ListNodes", { idempotencyLevel: "NO_SIDE_EFFECTS" });
const CREATE = unary("/drover.v1.NodeService/CreateNode");
const WATCH = { ...GET, path: "/drover.v1.NodeService/WatchNodes", responseStream: true };
const RENEW = unary("/drover.agent.v1.NodeAgentService/Renew");

describe("budgets of calls", () => {
  let clock: ManualClock;
  let budgets: CallBudgets;
  beforeEach(() => {
    clock = new ManualClock();
    budgets = new CallBudgets(clock);
  });

  const enter = (caller: Caller, method: typeof GET, isLocal = false) => budgets.enter({ caller, method, isLocal });
  const once = (caller: Caller, method: typeof GET) => enter(caller, method)[Symbol.dispose]();
  /** How many of so many get through. */
  const passed = (count: number, attempt: () => unknown) => {
    let through = 0;
    for (let n = 0; n < count; n += 1) {
      try {
        attempt();
        through += 1;
      } catch (error) {
        assert.ok(error instanceof ResourceExhausted);
      }
    }
    return through;
  };
  const refusedFor = (attempt: () => unknown) => {
    try {
      attempt();
    } catch (error) {
      assert.ok(error instanceof ResourceExhausted);
      return { reason: error.info.reason, retryAfterMs: error.retryAfterMs };
    }
    return assert.fail("was not refused");
  };

  it("hold each caller to its pace, by kind, and tell when to come back", () => {
    assert.equal(passed(3_000, () => once(user("a"), GET)), BUDGETS.read.rate.burst);
    assert.equal(passed(3_000, () => once(user("a"), CREATE)), BUDGETS.mutation.rate.burst, "reads have taken nothing from mutations");
    assert.equal(passed(1, () => once(user("b"), GET)), 1, "others have their own");
    const { reason, retryAfterMs } = refusedFor(() => once(user("a"), GET));
    assert.equal(reason, "TOO_MANY_CALLS");
    clock.pass(retryAfterMs);
    once(user("a"), GET);
    passed(1_000, () => once(user("a"), CREATE));
    clock.pass(1_000);
    assert.equal(passed(3_000, () => once(user("a"), CREATE)), BUDGETS.mutation.rate.perSecond);
  });

  it("count a page of a list as many reads", () => {
    assert.equal(passed(1_000, () => once(user("a"), LIST)), BUDGETS.read.rate.burst / 10);
  });

  it("bound what a caller has under way, and open watches apart", () => {
    const open = Array.from({ length: BUDGETS.read.openMax }, () => enter(user("a"), GET));
    assert.equal(refusedFor(() => enter(user("a"), GET)).reason, "TOO_MANY_OPEN_CALLS");
    enter(user("a"), WATCH);
    open[0]![Symbol.dispose]();
    enter(user("a"), GET);
  });

  it("refuse users first when there is too much, then everybody, but never a lease's renewal", () => {
    const crowd = (count: number, caller: (n: number) => Caller) => passed(count, (n = 0) => enter(caller(n), GET));
    for (let n = 0; n < 50; n += 1) crowd(20, () => user(`u${n}`));
    assert.equal(refusedFor(() => enter(user("late"), GET)).reason, "OVERLOADED");
    enter(node("a"), CREATE);
    enter(controller, CREATE);
    for (let n = 0; n < 100; n += 1) crowd(40, () => node(`n${n}`));
    assert.equal(refusedFor(() => enter(node("late"), CREATE)).reason, "OVERLOADED");
    assert.equal(refusedFor(() => enter(controller, CREATE)).reason, "OVERLOADED");
    enter(node("late"), RENEW);
  });

  it("do not pace the controller, nor who is on this machine", () => {
    assert.equal(passed(5_000, () => once(controller, CREATE)), 5_000);
    assert.equal(passed(5_000, () => enter(user("insecure-loopback"), CREATE, true)[Symbol.dispose]()), 5_000);
  });

  it("tell those who join from each other by their addresses", () => {
    const from = (source: string): Caller => ({ subject: "anonymous", role: "user", source });
    assert.equal(passed(1_000, () => once(from("10.0.0.1:1000"), CREATE)), BUDGETS.mutation.rate.burst);
    refusedFor(() => once(from("10.0.0.1:2000"), CREATE));
    once(from("10.0.0.2:1000"), CREATE);
  });

  it("notice who goes on although it is told to wait", () => {
    const minded = Array.from({ length: 600 }, () => budgets.minds(user("a"))).filter(Boolean).length;
    assert.equal(minded, 100);
    assert.ok(budgets.minds(user("b")));
    clock.pass(60_000);
    assert.ok(budgets.minds(user("a")));
  });
});
