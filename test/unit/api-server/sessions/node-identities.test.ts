/** Which certificates of nodes count, when the watch tells and when it does not. */
import assert from "node:assert/strict";
import { Node } from "../../../../gen/drover/v1/node.ts";
import { Unauthenticated } from "../../../../lib/errors.ts";
import { silentLog } from "../../../../lib/log.ts";
import { secretDigest } from "../../../../lib/pki/join-token.ts";
import { nodes } from "../../../../api-server/kinds/table.ts";
import type { Objects } from "../../../../api-server/objects.ts";
import { NodeIdentities } from "../../../../api-server/sessions/node-identities.ts";
import { enrolled, revoked, withToken } from "../../../../api-server/subresources/identity.ts";
import { admin, callBy, makeObjects } from "../fixture.ts";
import { eventually } from "./serving.ts";

const digest = secretDigest("x");
const name = "a";

async function watched({ deaf = false } = {}) {
  const { objects, clock, random, stop } = await makeObjects();
  const call = callBy(admin);
  const expires = new Date(clock.now().getTime() + 60_000);
  const enrol = (node: Node) => enrolled(withToken(node, { digest, expires }), { digest, now: clock.now(), expires });
  await objects.create(nodes, Node.create({ metadata: { name } }), call);
  const { uid } = (await objects.change(nodes, { name }, enrol, call)).metadata!;
  const ended: [string, number | undefined][] = [];
  const silence = async function* (signal: AbortSignal) {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    yield* [];
  };
  // Only what it reads by: a watch that tells nothing stands for one that hangs.
  const reads = deaf ? ({ list: objects.list.bind(objects), watch: (_kind: unknown, { signal }: { signal: AbortSignal }) => silence(signal) } as unknown as Objects) : objects;
  const identities = new NodeIdentities({ objects: reads, clock, random, log: silentLog, ended: (...end) => void ended.push(end) });
  await identities.start();
  const running = identities.run(stop.signal);
  return {
    identities, ended, clock, uid,
    change: (to: (node: Node) => Node | undefined) => objects.change(nodes, { name }, to, call),
    remove: () => objects.remove(nodes, { name }, call),
    enrol,
    async [Symbol.asyncDispose]() {
      stop.abort();
      clock.pass(60_000);
      await running;
    },
  };
}

describe("the nodes' identities", () => {
  it("follow enrolment, revocation and deletion", async () => {
    await using seen = await watched();
    const { identities, uid, ended } = seen;
    assert.equal(identities.nodeOf({ uid, incarnation: 1 }), name);
    for (const other of [{ uid, incarnation: 2 }, { uid: "other", incarnation: 1 }]) assert.throws(() => identities.nodeOf(other), Unauthenticated);
    await seen.change(seen.enrol);
    await eventually(async () => ended.length === 1);
    assert.equal(identities.nodeOf({ uid, incarnation: 2 }), name);
    assert.throws(() => identities.nodeOf({ uid, incarnation: 1 }), Unauthenticated);
    await seen.change(revoked);
    await eventually(async () => ended.length === 2);
    assert.throws(() => identities.nodeOf({ uid, incarnation: 3 }), Unauthenticated);
    await seen.change(seen.enrol);
    await eventually(async () => ended.length === 3);
    await seen.remove();
    await eventually(async () => ended.length === 4);
    assert.throws(() => identities.nodeOf({ uid, incarnation: 4 }), Unauthenticated);
    assert.deepEqual(ended, [[name, 2], [name, undefined], [name, 4], [name, undefined]]);
  });

  for (const [what, act] of [["a revocation", (seen: Seen) => seen.change(revoked)], ["a deletion", (seen: Seen) => seen.remove()]] as const) {
    it(`are held against the store every 30 seconds, so that ${what} counts even if the watch hangs`, async () => {
      await using seen = await watched({ deaf: true });
      await act(seen);
      assert.equal(seen.identities.nodeOf({ uid: seen.uid, incarnation: 1 }), name);
      await new Promise((resolve) => setTimeout(resolve, 20));
      seen.clock.pass(30_000);
      await eventually(async () => seen.ended.length === 1);
      assert.throws(() => seen.identities.nodeOf({ uid: seen.uid, incarnation: 1 }), Unauthenticated);
    });
  }

  it("never go back to what a slow watch still tells", async () => {
    await using seen = await watched({ deaf: true });
    const before = await seen.change(() => undefined);
    seen.identities.learn(await seen.change(seen.enrol));
    seen.identities.learn(before);
    assert.equal(seen.identities.nodeOf({ uid: seen.uid, incarnation: 2 }), name);
  });
});

type Seen = Awaited<ReturnType<typeof watched>>;
