/** When certificates are renewed and what is said when they are not, on virtual time, with a real authority. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Authority } from "../../../../api-server/authority/authority.ts";
import { keyOfRequest } from "../../../../api-server/authority/certificates.ts";
import { NodeCertificates } from "../../../../gen/drover/agent/v1/agent.ts";
import type { Timer } from "../../../../lib/clock.ts";
import type { Logger } from "../../../../lib/log.ts";
import { silentLog } from "../../../../lib/log.ts";
import { CERTIFICATE_MS } from "../../../../lib/pki/lifetime.ts";
import { systemRandom } from "../../../../lib/random.ts";
import { obtain } from "../../../../node-agent/join/certificates.ts";
import type { Requests } from "../../../../node-agent/join/certificates.ts";
import { keepIdentity, NoIdentity, readIdentity } from "../../../../node-agent/join/identity-files.ts";
import type { KeptIdentity } from "../../../../node-agent/join/identity-files.ts";
import { IdentityUpkeep, standingOf } from "../../../../node-agent/join/upkeep.ts";
import { ManualClock } from "../../api-server/sessions/manual-clock.ts";

const UID = "0b5e6d1e-0000-4000-8000-000000000001";
const MINUTE_MS = 60_000;

/** Says whether somebody waits for it. */
class AwaitedClock extends ManualClock {
  waiting = 0;
  override after(delayMs: number, run: () => void): Timer {
    this.waiting += 1;
    return super.after(delayMs, () => {
      this.waiting -= 1;
      run();
    });
  }
}

describe("a node's identity", () => {
  let directory: string;
  let state: string;
  let clock: AwaitedClock;
  let authority: Authority;
  let said: string[];
  let asked: number;
  let fails: boolean;
  let taken: KeptIdentity[];
  const stop = new AbortController();

  const log = new Proxy(silentLog, {
    get: (target, name) => (name === "error" || name === "warn" ? (...words: unknown[]) => said.push(`${name}: ${String(words.at(-1))}`) : Reflect.get(target, name) as unknown),
  }) as Logger;

  async function issue({ csrPem, migrationCsrPem }: Requests, incarnation: number): Promise<NodeCertificates> {
    const [agent, migration] = await Promise.all([keyOfRequest(csrPem, "a"), keyOfRequest(migrationCsrPem, "b")]);
    const made = await authority.issueNode({ uid: UID, incarnation }, { agent, migration }, authority.newLife());
    return NodeCertificates.create({ caPem: authority.caPem, migrationCaPem: authority.migrationCaPem, certificatePem: made.agent.pem, migrationCertificatePem: made.migration.pem });
  }
  const joins = async (incarnation: number) => keepIdentity(state, (await obtain((requests) => issue(requests, incarnation))).pem);

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "drover-upkeep-"));
    state = mkdtempSync(join(directory, "state-"));
    clock = new AwaitedClock();
    [said, asked, fails, taken] = [[], 0, false, []];
    authority = await Authority.open({ directory: join(directory, "authority"), trustDomain: "test", clock, random: systemRandom });
    await joins(1);
  });
  afterEach(() => rmSync(directory, { recursive: true }));
  after(() => stop.abort());

  function upkeep(share = 0.5, meanwhile = async () => undefined as unknown): IdentityUpkeep {
    return new IdentityUpkeep({
      stateDirectory: state, clock, log, random: { ...systemRandom, fraction: () => share },
      changed: (identity) => taken.push(identity),
      renew: async (requests) => {
        asked += 1;
        if (fails) throw new Error("The server is away");
        const answer = await issue(requests, 1);
        await meanwhile();
        return answer;
      },
    });
  }

  /** Virtual time in steps, with as much real time as the work in between needs: keys are made by other threads. */
  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= MINUTE_MS) {
      clock.pass(Math.min(MINUTE_MS, left));
      do await new Promise((resolve) => setImmediate(resolve));
      while (clock.waiting === 0);
    }
  }

  for (const [share, at] of [[0, 0.45], [0.999, 0.55]] as const) {
    it(`is renewed at ${at} of its life when chance says ${share}, and no sooner`, async () => {
      const { life } = readIdentity(state);
      void upkeep(share).run(stop.signal);
      const dueMs = life.notBefore.getTime() + (life.notAfter.getTime() - life.notBefore.getTime()) * at - clock.now().getTime();
      await pass(dueMs - 2 * MINUTE_MS);
      assert.equal(asked, 0);
      await pass(4 * MINUTE_MS);
      assert.equal(asked, 1);
      assert.equal(taken.length, 1);
      assert.equal(taken[0]!.version, readIdentity(state).version);
      assert.ok(taken[0]!.life.notAfter > life.notAfter);
      assert.deepEqual(said, []);
    });
  }

  it("is asked for again and again while nobody answers, and each alarm is given once", async () => {
    fails = true;
    const present = upkeep();
    void present.run(stop.signal);
    await pass(0.7 * CERTIFICATE_MS);
    assert.ok(asked > 60 && asked < 120, `${asked} times`);
    assert.deepEqual(said.filter((words) => words.startsWith("error")), []);
    await pass(0.2 * CERTIFICATE_MS);
    assert.deepEqual(said.filter((words) => words.startsWith("error")).map((words) => /ends soon/.test(words)), [true]);
    await pass(0.2 * CERTIFICATE_MS);
    assert.equal(said.filter((words) => /has ended; machines are left alone/.test(words)).length, 1);
    fails = false;
    await joins(2);
    await pass(2 * MINUTE_MS);
    assert.equal(present.current.identity.incarnation, 2);
    assert.equal(said.filter((words) => words.startsWith("error")).length, 2);
  }).timeout(30_000);

  it("is that of the operator, who joined while new certificates were on their way", async () => {
    const present = upkeep(0.5, () => joins(2));
    void present.run(stop.signal);
    await pass(0.55 * CERTIFICATE_MS);
    assert.equal(asked, 1);
    assert.equal(present.current.identity.incarnation, 2);
    assert.equal(readIdentity(state).identity.incarnation, 2);
    assert.deepEqual(taken.map(({ identity }) => identity.incarnation), [2]);
  });

  it("goes on with what it has when the files are lost", async () => {
    const present = upkeep();
    const { version } = present.current;
    unlinkSync(join(state, "pki"));
    present.look();
    assert.equal(present.current.version, version);
    assert.match(said[0]!, /cannot be read/);
  });

  it("is whole or not there", () => {
    const [version] = readdirSync(state).filter((name) => name.startsWith("pki-"));
    unlinkSync(join(state, version!, "migration.key"));
    assert.throws(() => readIdentity(state), NoIdentity);
    writeFileSync(join(state, version!, "migration.key"), "x");
    writeFileSync(join(state, version!, "node.pem"), authority.caPem);
    assert.throws(() => readIdentity(state), NoIdentity);
  });

  it("leaves nothing of those before it", async () => {
    await joins(2);
    await joins(3);
    assert.equal(readdirSync(state).length, 2);
    assert.equal(readIdentity(state).identity.incarnation, 3);
  });

  it("stands well until a quarter of its life is left", () => {
    const life = { notBefore: new Date(0), notAfter: new Date(100) };
    assert.deepEqual([0, 75, 76, 99, 100].map((at) => standingOf(life, new Date(at))), ["good", "good", "ending", "ending", "over"]);
  });
});
