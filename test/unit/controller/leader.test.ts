/** Leadership over a real API server: one decides, the next follows whatever becomes of the first. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClientError, Status } from "nice-grpc";
import { LeadershipServiceDefinition, LeadRequest } from "../../../gen/drover/control/v1/leadership.ts";
import { lead } from "../../../controller/leader.ts";
import { connect } from "../../../lib/client.ts";
import { systemClock } from "../../../lib/clock.ts";
import { silentLog } from "../../../lib/log.ts";
import { systemRandom } from "../../../lib/random.ts";
import { REPOSITORY } from "../../lab/guest.ts";
import { Program, waitFor } from "../../lab/process.ts";

/** A server lets a silent leader go after 6 s. */
const TAKEOVER = { timeoutMs: 25_000 };
const LEADS = /this controller leads"/;
const LEADS_NO_MORE = /this controller leads no more/;
const WAITS = /another controller leads/;

describe("leadership", function () {
  this.timeout(120_000);
  const directory = mkdtempSync(join(tmpdir(), "drover-leader-"));
  const [socket, config] = [join(directory, "api.sock"), join(directory, "api.yaml")];
  const serverUri = `unix://${socket}`;
  let server: Program;
  let port = "";
  let served = 0;
  const serve = async () => {
    server = await program("api-server", config, `api-${(served += 1)}.log`);
    [, port = ""] = await server.waitForLine(/"address":"127\.0\.0\.1:0","port":(\d+)/);
    await server.waitForLine(/"serving"/);
  };
  const program = (name: string, file: string, log: string) =>
    Program.start({ command: process.execPath, args: [join(REPOSITORY, name, "main.ts"), "--config", file], logFile: join(directory, log) });

  before(async () => {
    writeFileSync(config, JSON.stringify({ store: "memory:", listen: { unix: socket, insecureLoopback: "127.0.0.1:0" } }));
    writeFileSync(join(directory, "controller.yaml"), JSON.stringify({ server: serverUri }));
    await serve();
  });
  after(async () => {
    await killed(server);
    rmSync(directory, { recursive: true });
  });

  /** A candidate inside this process, with a count of its terms. */
  function candidate(name: string) {
    const stop = new AbortController();
    const connection = connect({ server: serverUri });
    const seen = { terms: 0, leads: false };
    const term = (signal: AbortSignal) => {
      Object.assign(seen, { terms: seen.terms + 1, leads: true });
      return new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(void (seen.leads = false)), { once: true }));
    };
    const ended = lead({ connection, name, clock: systemClock, random: systemRandom, log: silentLog, signal: stop.signal, term });
    return {
      seen,
      leads: () => waitFor(`${name} to lead`, () => seen.leads || undefined, TAKEOVER),
      async [Symbol.asyncDispose]() {
        stop.abort(new Error("The test is over"));
        await ended;
        connection[Symbol.dispose]();
      },
    };
  }

  it("goes to the first, and to the next in line as soon as the first lets go", async () => {
    await using third = await (async () => {
      await using first = candidate("first");
      await first.leads();
      await using second = candidate("second");
      await passes(300);
      const last = candidate("third");
      await passes(300);
      assert.deepEqual([second.seen.leads, last.seen.leads], [false, false]);
      await first[Symbol.asyncDispose]();
      assert.equal(first.seen.leads, false);
      await second.leads();
      assert.equal(last.seen.leads, false);
      return last;
    })();
    await third.leads();
    assert.equal(third.seen.terms, 1);
  });

  it("comes back to a lone candidate when the server does", async () => {
    await using lone = candidate("lone");
    await lone.leads();
    await killed(server);
    await waitFor("the term to end", () => !lone.seen.leads || undefined, TAKEOVER);
    await serve();
    await lone.leads();
    assert.equal(lone.seen.terms, 2);
  });

  it("replaces the older stream of the same process, and takes none without an id", async () => {
    using connection = connect({ server: serverUri });
    const client = connection.client(LeadershipServiceDefinition);
    const stop = new AbortController();
    const enter = (candidateId: string) => client.lead(beats({ candidateId, candidateName: "twice", beat: 1 }, stop.signal), { signal: stop.signal })[Symbol.asyncIterator]();
    const id = systemRandom.uuid();
    const older = enter(id);
    assert.equal((await older.next()).value?.ahead, 0);
    const newer = enter(id);
    assert.equal((await newer.next()).value?.ahead, 0);
    await assert.rejects(older.next(), (error) => error instanceof ClientError && error.code === Status.UNAVAILABLE);
    await assert.rejects(enter("").next(), (error) => error instanceof ClientError && error.code === Status.INVALID_ARGUMENT);
    stop.abort();
    await assert.rejects(newer.next());
  });

  it("is not for users", async () => {
    using connection = connect({ server: `127.0.0.1:${port}` });
    const answers = connection.client(LeadershipServiceDefinition).lead(beats({ candidateId: systemRandom.uuid(), candidateName: "user", beat: 1 }, AbortSignal.abort()));
    await assert.rejects(answers[Symbol.asyncIterator]().next(), (error) => error instanceof ClientError && error.code === Status.PERMISSION_DENIED);
  });

  it("passes on when the leading process is killed, and when it is frozen, which stops deciding when it wakes", async () => {
    const start = (log: string) => program("controller", join(directory, "controller.yaml"), log);
    await using first = await start("first.log");
    await first.waitForLine(LEADS);
    await using second = await start("second.log");
    await second.waitForLine(WAITS);
    await killed(first);
    await second.waitForLine(LEADS, TAKEOVER);
    await using third = await start("third.log");
    await third.waitForLine(WAITS);
    second.kill("SIGSTOP");
    await third.waitForLine(LEADS, TAKEOVER);
    assert.doesNotMatch(second.lines().join(), LEADS_NO_MORE);
    second.kill("SIGCONT");
    await second.waitForLine(LEADS_NO_MORE);
    await waitFor("the frozen one to wait in line again", () => second.lines().filter((line) => WAITS.test(line)).length > 1 || undefined);
  });
});

async function* beats(first: Partial<LeadRequest>, signal: AbortSignal): AsyncGenerator<LeadRequest> {
  yield LeadRequest.create(first);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

const passes = (ms: number) => new Promise<void>((resolve) => systemClock.after(ms, resolve));

async function killed(program: Program): Promise<void> {
  program.kill();
  await program.exited;
}
