/** Which agent is a node, as the record tells it. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { Node } from "../../../../gen/drover/v1/node.ts";
import { Unauthenticated } from "../../../../lib/errors.ts";
import { secretDigest } from "../../../../lib/pki/join-token.ts";
import { enrolled, identityOf, renewed, revoked, stands, tokenFault, withToken } from "../../../../api-server/subresources/identity.ts";

const UID = "0b5e6d1e-0000-4000-8000-000000000001";
const at = (seconds: number) => new Date(seconds * 1_000);
const node = Node.create({ metadata: { name: "a", uid: UID } });
const [digest, other] = [secretDigest("a"), secretDigest("b")];
const tokened = withToken(node, { digest, expires: at(10) });
const enrol = (from: Node, now = at(1), by = digest) => enrolled(from, { digest: by, now, expires: at(100) });

describe("a node's token", () => {
  const rows: [string, Node | undefined, string, Date, string | undefined][] = [
    ["good", tokened, digest, at(1), undefined],
    ["of no node", undefined, digest, at(1), "unknown"],
    ["of a node without one", node, digest, at(1), "unknown"],
    ["another", tokened, other, at(1), "unknown"],
    ["empty", tokened, "", at(1), "unknown"],
    ["empty, of a node without one", node, "", at(1), "unknown"],
    ["at its end", tokened, digest, at(10), "late"],
    ["used", enrol(tokened), digest, at(2), "used"],
    ["replaced", withToken(tokened, { digest: other, expires: at(10) }), digest, at(1), "unknown"],
    ["of a node that was revoked", revoked(tokened), digest, at(1), "unknown"],
  ];
  for (const [what, on, by, now, fault] of rows) {
    it(`that is ${what}: ${fault ?? "may be used"}`, () => {
      assert.equal(tokenFault(on, { digest: by, now }), fault);
      if (on && fault) assert.throws(() => enrolled(on, { digest: by, now, expires: at(100) }), Unauthenticated);
    });
  }
});

describe("a node's identity", () => {
  it("begins with the first enrolment, grows with each, and lets only its newest stand", () => {
    const first = enrol(tokened);
    assert.deepEqual([identityOf(first).incarnation, identityOf(first).enrolledTime, identityOf(first).certificateExpireTime], [1, at(1), at(100)]);
    const second = enrol(withToken(first, { digest: other, expires: at(10) }), at(2), other);
    assert.deepEqual([0, 1, 2, 3].map((incarnation) => stands(second, { uid: UID, incarnation })), [false, false, true, false]);
    assert.equal(stands(second, { uid: "0b5e6d1e-0000-4000-8000-000000000002", incarnation: 2 }), false);
    assert.equal(stands(undefined, { uid: UID, incarnation: 2 }), false);
  });

  it("is not touched by a new token until that is used", () => {
    assert.ok(stands(withToken(enrol(tokened), { digest: other, expires: at(10) }), { uid: UID, incarnation: 1 }));
  });

  it("is renewed without becoming another", () => {
    const first = enrol(tokened);
    const second = renewed(first, at(200))!;
    assert.ok(stands(second, { uid: UID, incarnation: 1 }));
    assert.equal(renewed(second, at(200)), undefined);
  });

  it("never stands again after a revocation, whatever follows", () => {
    const step = fc.constantFrom("token", "enrol", "revoke", "renew");
    fc.assert(fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let now: Node = node;
      const given: { uid: string; incarnation: number }[] = [];
      for (const each of steps) {
        if (each === "token") now = withToken(now, { digest, expires: at(10) });
        if (each === "revoke") now = revoked(now) ?? now;
        if (each === "renew") now = renewed(now, at(200)) ?? now;
        if (each === "enrol" && tokenFault(now, { digest, now: at(1) }) === undefined) {
          now = enrol(now);
          given.push({ uid: UID, incarnation: identityOf(now).incarnation });
        }
      }
      assert.equal(new Set(given.map(({ incarnation }) => incarnation)).size, given.length, "no incarnation is given twice");
      const standing = given.filter((each) => stands(now, each));
      const newest = given.at(-1);
      assert.deepEqual(standing, newest && !identityOf(now).revoked ? [newest] : []);
    }));
  });
});
