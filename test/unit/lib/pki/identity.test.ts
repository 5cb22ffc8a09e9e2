import assert from "node:assert/strict";
import * as fc from "fast-check";
import { identityIn, identityUri, isTrustDomain, isUserName, parseIdentity, serverNameOf } from "../../../../lib/pki/identity.ts";
import type { Identity } from "../../../../lib/pki/identity.ts";

const UID = "0b5e6d1e-0000-4000-8000-000000000001";
const nodeOrQemu = fc.record({ kind: fc.constantFrom("node" as const, "migration" as const), uid: fc.uuid(), incarnation: fc.integer({ min: 1, max: 1_000_000 }) }, { noNullPrototype: true });
const user = fc.string({ maxLength: 40 }).filter(isUserName).map((name): Identity => ({ kind: "user", name }));
const anyone: fc.Arbitrary<Identity> = fc.oneof(nodeOrQemu, user, fc.constantFrom<Identity>({ kind: "controller" }, { kind: "api-server" }));

describe("an identity", () => {
  it("comes back from its URI, and from no other trust domain's", () => {
    fc.assert(fc.property(anyone, (identity) => {
      assert.deepEqual(parseIdentity("drover", identityUri("drover", identity)), identity);
      assert.equal(parseIdentity("drover", identityUri("other", identity)), undefined);
      assert.equal(parseIdentity("drover", identityUri("drover.example", identity)), undefined);
    }));
  });

  it("is never two", () => {
    fc.assert(fc.property(anyone, anyone, (a, b) => {
      const sans = `URI:${identityUri("drover", a)}, URI:${identityUri("drover", b)}`;
      assert.equal(identityIn("drover", sans), undefined);
    }));
  });

  const rows: [string, Identity | undefined][] = [
    [`URI:spiffe://drover/node/${UID}/3`, { kind: "node", uid: UID, incarnation: 3 }],
    [`DNS:${UID}.node.drover, URI:spiffe://drover/node/${UID}/3`, { kind: "node", uid: UID, incarnation: 3 }],
    [`URI:spiffe://drover/migration/${UID}/3`, { kind: "migration", uid: UID, incarnation: 3 }],
    ["URI:spiffe://drover/user/alice@example.org", { kind: "user", name: "alice@example.org" }],
    ["", undefined],
    ["DNS:spiffe://drover/controller", undefined],
    ['URI:"spiffe://drover/controller"', undefined],
    ['DNS:"x, URI:spiffe://drover/controller"', undefined],
    ['othername:"URI:x", URI:spiffe://drover/controller', undefined],
    [`URI:spiffe://drover/node/${UID}`, undefined],
    [`URI:spiffe://drover/node/${UID}/0`, undefined],
    [`URI:spiffe://drover/node/${UID}/03`, undefined],
    [`URI:spiffe://drover/node/${UID}/3/4`, undefined],
    [`URI:spiffe://drover/node/${UID.toUpperCase()}/3`, undefined],
    ["URI:spiffe://drover/node/a/1", undefined],
    ["URI:spiffe://drover/user/", undefined],
    ["URI:spiffe://drover/user/a/b", undefined],
    ["URI:spiffe://drover/controller/", undefined],
    ["URI:https://drover/controller", undefined],
    ["URI:SPIFFE://drover/controller", undefined],
  ];
  for (const [sans, expected] of rows) it(`in ${JSON.stringify(sans)} is ${expected?.kind ?? "nobody's"}`, () => assert.deepEqual(identityIn("drover", sans), expected));

  it("has a name of its own as a server, for the agent and for QEMU", () => {
    assert.deepEqual((["node", "migration"] as const).map((kind) => serverNameOf("drover", { kind, uid: UID })), [`${UID}.node.drover`, `${UID}.migration.drover`]);
  });

  it("lives in a trust domain that a URI can name", () => {
    assert.deepEqual(["drover", "drover.example.org", "", "a/b", "A", "-a", "a b"].map(isTrustDomain), [true, true, false, false, false, false, false]);
  });
});
