/** The agent as a host's administrator meets it: it joins, keeps its certificates fresh, and survives being put out. Real processes, real TLS. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { X509Certificate } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { assemble } from "../../api-server/assemble.ts";
import { Authority } from "../../api-server/authority/authority.ts";
import { listenersOf } from "../../api-server/listeners.ts";
import { listenAll } from "../../api-server/server.ts";
import { MemoryStore } from "../../api-server/store/memory.ts";
import { openTrust } from "../../api-server/trust.ts";
import { NodeServiceDefinition, NodeSessionState } from "../../gen/drover/v1/node.ts";
import { connect } from "../../lib/client.ts";
import { delay, systemClock } from "../../lib/clock.ts";
import { silentLog } from "../../lib/log.ts";
import { systemRandom } from "../../lib/random.ts";
import { REPOSITORY } from "../lab/guest.ts";
import { CommandFailed, Program, run, waitFor } from "../lab/process.ts";

const LEASE_MS = 3_000;
const COMMAND = join(REPOSITORY, "bin/drover-node-agent");
const ONCE = { requestId: "", validateOnly: false };
const [clock, random, log] = [systemClock, systemRandom, silentLog];
const FOREIGN_TOKEN = `dj1.${"0".repeat(52)}.${"A".repeat(43)}.a`;

/** The server on its real listeners and on real time; certificates live as long as the test says. */
async function serve(certificateMs: number) {
  const directory = mkdtempSync(join(tmpdir(), "drover-join-"));
  const local = "127.0.0.1:0";
  const listen = { unix: join(directory, "api.sock"), agents: local, enrolment: local };
  const config = { listen, auth: { oidc: [] }, pki: { directory: join(directory, "authority"), trustDomain: "test", names: [] } };
  const authority = await Authority.open({ ...config.pki, clock, random, certificateMs });
  const store = new MemoryStore({ identity: { storeId: "s", incarnation: "1" } });
  const { parts, server, stop } = await assemble({ store, clock, random, log, leaseMs: LEASE_MS, authority, agentsAddress: () => portOf("agents") });
  const { trust, running } = await openTrust(authority, { config, clock, random, log }, { parts, signal: parts.stopping });
  const listening = await listenAll(listenersOf(config, parts, trust), server);
  const portOf = (name: string) => `127.0.0.1:${listening.find((each) => each.name === name)!.port}`;
  const admin = connect({ server: `unix://${listen.unix}` });
  const nodes = admin.client(NodeServiceDefinition);
  const programs: Program[] = [];
  return {
    directory, nodes, enrolment: portOf("enrolment"),
    token: async (name: string) => (await nodes.createNodeToken({ name, ttlSeconds: 0, ...ONCE })).token,
    record: async (name: string) => (await nodes.getNode({ name })).node!.status!,
    /** A host's agent, not started. */
    host(name: string) {
      const stateDirectory = join(directory, name);
      const qemuPkiDirectory = join(directory, `${name}-qemu`);
      const file = join(directory, `${name}.yaml`);
      writeFileSync(file, stringify({
        server: portOf("agents"), stateDirectory, libvirtUri: "test:///default", allowEmulation: true,
        migration: { address: "127.0.0.1", qemuPkiDirectory },
      }));
      const start = async () => {
        const program = await Program.start({ command: process.execPath, args: [join(REPOSITORY, "node-agent/main.ts"), "--config", file], logFile: join(directory, `${name}.log`) });
        programs.push(program);
        return program;
      };
      return { stateDirectory, qemuPkiDirectory, file, start };
    },
    async [Symbol.asyncDispose]() {
      for (const program of programs) program.kill("SIGKILL");
      admin[Symbol.dispose]();
      await Promise.all([stop(), running, ...listening.map((each) => each.close(100))]);
      rmSync(directory, { recursive: true });
    },
  };
}

const joining = (...args: string[]) => run(COMMAND, ["join", ...args]);

async function refusal(...args: string[]): Promise<CommandFailed> {
  const error = await joining(...args).then((text) => assert.fail(`was not refused: ${text}`), (caught: unknown) => caught);
  assert.ok(error instanceof CommandFailed, String(error));
  return error;
}

const certificateIn = (stateDirectory: string, name = "node") => new X509Certificate(readFileSync(join(stateDirectory, "pki", `${name}.pem`)));
const count = (program: Program, words: RegExp) => program.lines().filter((line) => words.test(line)).length;

describe("a host that joins", function () {
  this.timeout(60_000);
  let server: Awaited<ReturnType<typeof serve>>;
  const connected = (name: string) =>
    waitFor(`${name} to connect`, async () => {
      const { session } = await server.record(name);
      return session?.state === NodeSessionState.CONNECTED ? session : undefined;
    });
  afterEach(() => server[Symbol.asyncDispose]());

  it("keeps its keys to itself, and says what is next", async () => {
    server = await serve(60_000);
    const { stateDirectory, file } = server.host("a");
    const said = await joining(server.enrolment, await server.token("a"), "--config", file);
    assert.match(said, /This host is node "a"[^]*server: 127\.0\.0\.1:\d+\n {2}stateDirectory: /);
    const files = readdirSync(join(stateDirectory, "pki"));
    assert.deepEqual(files.sort(), ["ca.pem", "migration-ca.pem", "migration.key", "migration.pem", "node.key", "node.pem"]);
    for (const name of files) assert.equal(statSync(join(stateDirectory, "pki", name)).mode & 0o077, 0, name);
    assert.match(certificateIn(stateDirectory).subjectAltName!, /^URI:spiffe:\/\/test\/node\//);
    assert.match(certificateIn(stateDirectory, "migration").subjectAltName!, /^URI:spiffe:\/\/test\/migration\//);
    assert.deepEqual(readdirSync(stateDirectory).filter((name) => !name.startsWith("pki")), []);
  });

  it("takes its token from standard input, and two hosts do not both get in by one", async () => {
    server = await serve(60_000);
    const token = await server.token("a");
    const first = (name: string) => run("sh", ["-c", `echo "$TOKEN" | "$0" join ${server.enrolment} - --state-directory "$1"`, COMMAND, join(server.directory, name)], { env: { TOKEN: token } });
    const ends = await Promise.allSettled([first("one"), first("two")]);
    const lost = ends.filter((end) => end.status === "rejected");
    assert.equal(lost.length, 1);
    assert.match(String(lost[0]!.reason), /expired, used, replaced/);
    assert.equal((await server.record("a")).identity!.incarnation, 1);
  });

  it("is told clearly what is wrong, and its identity is not given up by mistake", async () => {
    server = await serve(60_000);
    const { stateDirectory, file } = server.host("a");
    const token = await server.token("a");
    const [, secret, , name] = token.split(".");
    const refused = async (args: string[], words: RegExp, code = 1) => {
      const { stderr, exitCode } = await refusal(...args, "--config", file);
      assert.match(stderr, words);
      assert.equal(exitCode, code);
      assert.doesNotMatch(stderr, /\n\s+at /, "a stack is no message");
      assert.equal(readdirSync(server.directory).includes("a") && readdirSync(stateDirectory).includes("pki"), false);
    };
    await refused([server.enrolment, "abc"], /no token/);
    await refused([server.enrolment, FOREIGN_TOKEN], /does not show the authority/);
    await refused([server.enrolment, `dj1.${secret!.replaceAll(/./g, "0")}.${token.split(".")[2]}.${name}`], /expired, used, replaced or was never made/);
    await refused(["127.0.0.1:9", token], /Cannot reach the enrolment listener.*not used/);
    await refused([server.enrolment], /TOKEN are required/, 2);
    await refused(["127.0.0.1", token], /must be host:port/, 2);

    await joining(server.enrolment, token, "--config", file);
    const before = certificateIn(stateDirectory).fingerprint256;
    assert.match((await refusal(server.enrolment, await server.token("a"), "--config", file)).stderr, /already.*--force/);
    assert.equal(certificateIn(stateDirectory).fingerprint256, before);
    await joining(server.enrolment, await server.token("a"), "--config", file, "--force");
    assert.notEqual(certificateIn(stateDirectory).fingerprint256, before);
    assert.equal(readdirSync(stateDirectory).filter((entry) => entry.startsWith("pki-")).length, 1, "the old keys are gone");
  });

  it("has an agent that does not start without an identity, and says how to get one", async () => {
    server = await serve(60_000);
    const { file } = server.host("a");
    const error = await run(process.execPath, [join(REPOSITORY, "node-agent/main.ts"), "--config", file]).then(() => assert.fail("it started"), (caught: unknown) => caught);
    assert.ok(error instanceof CommandFailed);
    assert.equal(error.exitCode, 1);
    assert.match(error.stderr, /no identity[^]*drover node token create[^]*drover-node-agent join/);
  });

  it("renews its certificates while its session stands, and QEMU's with them", async () => {
    const lifeMs = 8_000;
    server = await serve(lifeMs);
    const { stateDirectory, qemuPkiDirectory, file, start } = server.host("a");
    await joining(server.enrolment, await server.token("a"), "--config", file);
    const [first, key] = [certificateIn(stateDirectory), readFileSync(join(stateDirectory, "pki/node.key"), "utf8")];
    const agent = await start();
    const { sessionId } = await connected("a");
    // Well past the end of the certificate that the session was opened with.
    while (clock.now() < new Date(first.validToDate.getTime() + LEASE_MS + 1_000)) {
      const { session } = await server.record("a");
      assert.deepEqual([session!.sessionId, session!.state], [sessionId, NodeSessionState.CONNECTED], agent.lines().join("\n"));
      await delay(clock, 200);
    }
    const now = certificateIn(stateDirectory);
    assert.ok(now.validToDate > clock.now());
    assert.equal(now.subjectAltName, first.subjectAltName);
    assert.notEqual(readFileSync(join(stateDirectory, "pki/node.key"), "utf8"), key);
    const shown = () => new X509Certificate(readFileSync(join(qemuPkiDirectory, "server-cert.pem"))).fingerprint256;
    await waitFor("QEMU to have its certificate", () => shown() === certificateIn(stateDirectory, "migration").fingerprint256 || undefined);
    assert.equal(count(agent, /"level":50/), 0, agent.lines().join("\n"));
    // What it says reaches the server by the new certificate.
    assert.equal((await server.record("a")).report!.hypervisorConnected, true);
  });

  it("leaves machines alone when its certificate ended while it was off, and is let in again by a token", async () => {
    // Long enough for a busy machine to connect by the second one.
    server = await serve(6_000);
    const { stateDirectory, file, start } = server.host("a");
    await joining(server.enrolment, await server.token("a"), "--config", file);
    await delay(clock, certificateIn(stateDirectory).validToDate.getTime() + 500 - clock.now().getTime());
    const agent = await start();
    await agent.waitForLine(/certificate has ended; machines are left alone/);
    await delay(clock, 2_000);
    assert.ok(agent.isAlive());
    assert.equal(count(agent, /certificate has ended/), 1);
    assert.equal((await server.record("a")).session, undefined);
    // It is over, so that nothing has to be forced, and the agent finds it.
    await joining(server.enrolment, await server.token("a"), "--config", file);
    await connected("a");
  });

  it("goes on when it is revoked, says so once, and does not knock often", async () => {
    server = await serve(60_000);
    const { file, start } = server.host("a");
    await joining(server.enrolment, await server.token("a"), "--config", file);
    const agent = await start();
    await connected("a");
    await server.nodes.revokeNode({ name: "a", ...ONCE });
    await agent.waitForLine(/this node was revoked/);
    await delay(clock, 5_000);
    assert.ok(agent.isAlive());
    assert.equal(count(agent, /this node was revoked/), 1);
    await agent.stop();
    assert.match((await refusal(server.enrolment, await server.token("a"), "--config", file)).stderr, /--force/);
    await joining(server.enrolment, await server.token("a"), "--config", file, "--force");
    await start();
    await waitFor("the node to be back", async () => {
      const { identity, session } = await server.record("a");
      return (identity!.incarnation === 3 && session?.state === NodeSessionState.CONNECTED) || undefined;
    });
  });
});
