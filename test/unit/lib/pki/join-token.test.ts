import assert from "node:assert/strict";
import * as fc from "fast-check";
import { formatJoinToken, newSecret, parseJoinToken, secretDigest } from "../../../../lib/pki/join-token.ts";
import { systemRandom } from "../../../../lib/random.ts";

const pin = "A".repeat(43);

describe("a join token", () => {
  it("comes back whole, whatever the node is called", () => {
    fc.assert(fc.property(fc.domain(), (node) => {
      const token = { secret: newSecret(systemRandom), pin, node };
      assert.deepEqual(parseJoinToken(formatJoinToken(token)), token);
      assert.deepEqual(parseJoinToken(` ${formatJoinToken(token)}\n`), token);
    }));
  });

  it("is one word that a shell leaves alone, with a secret of 260 bits that no two share", () => {
    const secrets = new Set(Array.from({ length: 1_000 }, () => newSecret(systemRandom)));
    assert.equal(secrets.size, 1_000);
    for (const secret of secrets) assert.match(formatJoinToken({ secret, pin, node: "host-1.rack" }), /^dj1\.[a-z0-9]{52}\.A{43}\.host-1\.rack$/);
  });

  for (const text of ["", "dj1.", `dj2.${"0".repeat(52)}.${pin}.a`, `dj1.${"0".repeat(51)}.${pin}.a`, `dj1.${"0".repeat(52)}.${pin}.`, `dj1.${"0".repeat(52)}.${pin}.a b`]) {
    it(`is not ${JSON.stringify(text)}`, () => assert.equal(parseJoinToken(text), undefined));
  }

  it("is kept as a digest that says nothing of it", () => {
    assert.match(secretDigest("x"), /^[0-9a-f]{64}$/);
    assert.notEqual(secretDigest("x"), secretDigest("y"));
  });
});
