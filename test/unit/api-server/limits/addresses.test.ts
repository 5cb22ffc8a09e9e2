/** How many connections come from one address, and what an attack from it costs it. */
import assert from "node:assert/strict";
import { Addresses, networkOf } from "../../../../api-server/limits/addresses.ts";
import { ManualClock } from "../sessions/manual-clock.ts";

const LIMITS = { openMax: 3, pace: { burst: 100, perSecond: 50 } };

describe("addresses", () => {
  it("have so many connections each, and another when one has gone", () => {
    const addresses = new Addresses(new ManualClock(), LIMITS);
    const tried = () => ["a", "a", "a", "a", "b"].map((address) => addresses.enter(address));
    assert.deepEqual(tried(), [true, true, true, false, true]);
    addresses.leave("a");
    assert.deepEqual([addresses.enter("a"), addresses.enter("a")], [true, false]);
  });

  it("open so many at once, and then at a pace", () => {
    const clock = new ManualClock();
    const addresses = new Addresses(clock, LIMITS);
    const opened = (count: number) => Array.from({ length: count }, () => addresses.enter("a") && (addresses.leave("a"), true)).filter(Boolean).length;
    assert.equal(opened(200), 100);
    clock.pass(1_000);
    assert.equal(opened(200), 50);
  });

  it("are kept out for each offence twice as long, at most for a minute, and others are not", () => {
    const clock = new ManualClock();
    const addresses = new Addresses(clock, LIMITS);
    const keptOutMs = () => {
      addresses.offended("a");
      let passedMs = 0;
      for (; !addresses.enter("a"); passedMs += 100) clock.pass(100);
      addresses.leave("a");
      return passedMs;
    };
    const times = [keptOutMs(), keptOutMs(), keptOutMs(), keptOutMs(), keptOutMs(), keptOutMs()];
    assert.ok(times[0]! > 2_000 && times[0]! < 5_000, String(times));
    assert.ok(times[1]! > 1.5 * times[0]! && times[2]! > 1.5 * times[1]!, String(times));
    assert.ok(Math.max(...times) <= 60_100, String(times));
    assert.ok(addresses.enter("b"));
    clock.pass(120_000);
    assert.ok(keptOutMs() < 5_000, "all is forgiven in the end");
  });

  it("of IPv6 are counted by network, and mapped ones as IPv4", () => {
    assert.equal(networkOf("::ffff:10.1.2.3"), "10.1.2.3");
    assert.equal(networkOf("2001:db8:0:7::1"), networkOf("2001:db8:0:7:ffff:0:0:2"));
    assert.notEqual(networkOf("2001:db8:0:7::1"), networkOf("2001:db8:0:8::1"));
    assert.equal(networkOf("fe80::1%eth0"), networkOf("fe80::2"));
    assert.equal(networkOf("::1"), "0:0:0:0");
    assert.equal(networkOf("192.0.2.1"), "192.0.2.1");
  });

  it("are forgotten when there are too many of them, but not the ones with connections", () => {
    const addresses = new Addresses(new ManualClock(), LIMITS);
    for (let n = 0; n < 3; n += 1) addresses.enter("kept");
    for (let n = 0; n < 20_000; n += 1) addresses.charge(`stranger-${n}`, 1);
    assert.equal(addresses.enter("kept"), false);
  });
});
