/** T15: whoever steals a join token. One use, a short life, one node, and nobody guesses. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Status } from "nice-grpc";
import type { ClientError } from "nice-grpc";
import { EnrolmentServiceDefinition } from "../../gen/drover/agent/v1/enrolment.ts";
import { delay, systemClock } from "../../lib/clock.ts";
import { parseJoinToken } from "../../lib/pki/join-token.ts";
import { newRequest } from "../../lib/pki/keys.ts";
import { EVERYTHING, ONCE } from "../contract/auth-server.ts";
import { enrol } from "../contract/enrol.ts";
import { nodeOf, startInstalled } from "./server.ts";
import type { Installed } from "./server.ts";

const THIEVES = 20;
const RACES = 3;
/** After which an address that has failed may try again. */
const FORGIVEN_MS = 1_500;

describe("T15: a stolen join token", function () {
  this.timeout(60_000);
  let server: Installed;
  let requests: { csrPem: string; migrationCsrPem: string };
  before(async () => {
    server = await startInstalled();
    const [agent, migration] = await Promise.all([newRequest(), newRequest()]);
    requests = { csrPem: agent.csrPem, migrationCsrPem: migration.csrPem };
  });
  after(() => server?.[Symbol.asyncDispose]());

  const attempt = async (token: string) => {
    const connection = server.open(server.addresses.enrolment, { ca: server.ca });
    const answer = connection.client(EnrolmentServiceDefinition).enroll({ token, ...requests });
    return answer.then(({ certificates }) => certificates!.nodeName, (error: ClientError) => Status[error.code]!);
  };
  const reasonsAbout = async (node: string) => {
    const { events } = await server.admin.events.listEvents({ ...EVERYTHING, fieldSelector: `regarding.name=${node}` });
    return events.map(({ reason }) => reason);
  };

  it("is for its node alone, and its secret for nobody to find", async () => {
    const token = await server.token("mine");
    const { secret, pin } = parseJoinToken(token)!;
    const other = await server.token("other");
    assert.equal(await attempt(`dj1.${secret}.${pin}.other`), "UNAUTHENTICATED", "under another node's name");
    assert.equal(await attempt(`dj1.${secret.slice(0, -1)}${secret.endsWith("a") ? "b" : "a"}.${pin}.mine`), "UNAUTHENTICATED", "a secret that is nearly right");
    for (const [what, text] of [["the store", server.storedBytes().toString("latin1")], ["the log", server.log()]] as const) {
      assert.equal(text.includes(secret), false, what);
      assert.equal(text.includes(parseJoinToken(other)!.secret), false, what);
    }
    assert.ok(secret.length * Math.log2(36) > 256);
    // Nothing that the thief did took it from whom it was made for.
    assert.equal((await enrol(join(server.directory, "rightful"), { server: server.addresses.enrolment, token })).certificates.nodeName, "mine");
  });

  it("is worth nothing after its time, when it is replaced, and after its node was revoked", async () => {
    const late = await server.token("late", 1);
    const replaced = await server.token("replaced");
    await server.token("replaced");
    const revoked = await server.token("revoked");
    await server.admin.nodes.revokeNode({ ...ONCE, name: "revoked" });
    await delay(systemClock, 1_100);
    for (const token of [late, replaced, revoked]) assert.equal(await attempt(token), "UNAUTHENTICATED");
    assert.ok((await reasonsAbout("late")).includes("JoinTokenExpired"));
  });

  it("makes one host a node, however many come with it at once", async () => {
    for (let race = 1; race <= RACES; race += 1) {
      await delay(systemClock, FORGIVEN_MS);
      const token = await server.token("raced");
      const ends = await Promise.all(Array.from({ length: race === 1 ? THIEVES : 2 }, () => attempt(token)));
      assert.equal(ends.filter((end) => end === "raced").length, 1, ends.join());
      assert.deepEqual(ends.filter((end) => !["raced", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED"].includes(end)), []);
      assert.equal((await nodeOf(server, "raced")).status!.identity!.incarnation, race);
    }
    assert.ok((await reasonsAbout("raced")).includes("JoinTokenUsedAgain"), "the administrator hears of it");
  });

  it("does not let one address go on guessing", async () => {
    const guess = `dj1.${"0".repeat(52)}.${"A".repeat(43)}.mine`;
    const ends = await Promise.all(Array.from({ length: THIEVES }, () => attempt(guess)));
    assert.ok(ends.filter((end) => end === "RESOURCE_EXHAUSTED").length >= THIEVES - 8, ends.join());
    assert.ok(ends.every((end) => end === "UNAUTHENTICATED" || end === "RESOURCE_EXHAUSTED"), ends.join());
  });
});
