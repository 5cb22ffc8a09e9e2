/** The program itself, in a process of its own: how it begins, how it ends, what it survives. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { NamespaceServiceDefinition } from "../../../gen/drover/v1/namespace.ts";
import { ObjectMeta } from "../../../gen/drover/v1/meta.ts";
import { connect } from "../../../lib/client.ts";
import { systemClock } from "../../../lib/clock.ts";

const MAIN = join(import.meta.dirname, "../../../api-server/main.ts");

class Program {
  readonly #child: ChildProcess;
  #errors = "";

  constructor(directory: string, config: object, flags: readonly string[]) {
    const file = join(directory, "config.yaml");
    writeFileSync(file, stringify(config));
    this.#child = spawn(process.execPath, [MAIN, "--config", file, ...flags], { stdio: ["ignore", "ignore", "pipe"] });
    this.#child.stderr!.on("data", (data: Buffer) => (this.#errors += data.toString()));
  }

  get errors(): string {
    return this.#errors;
  }

  async serving(): Promise<this> {
    while (!this.#errors.includes('"msg":"serving"')) {
      if (this.#child.exitCode !== null) throw new Error(`The server ended: ${this.#errors}`);
      await once(this.#child.stderr!, "data");
    }
    return this;
  }

  async ended(signal?: NodeJS.Signals): Promise<number | null> {
    if (signal) this.#child.kill(signal);
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    return this.#child.exitCode;
  }
}

describe("drover-api-server", function () {
  this.timeout(30_000);
  let directory = "";
  let config: { store: string; listen: { unix: string } };
  const started: Program[] = [];
  const start = (changes: object = {}, flags: readonly string[] = []) => {
    const program = new Program(directory, { ...config, ...changes }, flags);
    started.push(program);
    return program;
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "drover-main-"));
    config = { store: `sqlite:${directory}/drover.db`, listen: { unix: join(directory, "api.sock") } };
  });
  afterEach(async () => {
    await Promise.all(started.splice(0).map((program) => program.ended("SIGKILL")));
    rmSync(directory, { recursive: true });
  });

  const namespace = (name: string) => ({ metadata: ObjectMeta.create({ name }) });
  const page = { pageSize: 0, pageToken: "", labelSelector: "", fieldSelector: "" };

  it("keeps what it acknowledged through kill -9, and acts once on a repeat", async () => {
    const first = await start().serving();
    using before = connect({ server: `unix://${config.listen.unix}` });
    const request = { namespace: namespace("lab"), requestId: "once", validateOnly: false };
    const made = await before.client(NamespaceServiceDefinition).createNamespace(request);
    await first.ended("SIGKILL");
    await start().serving();
    using after = connect({ server: `unix://${config.listen.unix}`, options: { "grpc.use_local_subchannel_pool": 1 } });
    const client = after.client(NamespaceServiceDefinition);
    assert.deepEqual(await client.createNamespace(request), made);
    assert.deepEqual((await client.listNamespaces(page)).namespaces.map(({ metadata }) => metadata?.name), ["default", "lab"]);
  });

  it("ends open watches and exits 0 on SIGTERM, soon", async () => {
    const program = await start().serving();
    using connection = connect({ server: `unix://${config.listen.unix}` });
    const client = connection.client(NamespaceServiceDefinition);
    const watch = client.watchNamespaces({ fromRevision: "", labelSelector: "", fieldSelector: "" })[Symbol.asyncIterator]();
    await watch.next();
    const startMs = systemClock.monotonicMs();
    const left = (async () => {
      while (!(await watch.next()).done);
    })();
    left.catch(() => undefined);
    assert.equal(await program.ended("SIGTERM"), 0, program.errors);
    assert.ok(systemClock.monotonicMs() - startMs < 10_000);
    await assert.rejects(left, /UNAVAILABLE/);
  });

  it("names the address that is in use and exits 1", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const program = start({ listen: { insecureLoopback: `127.0.0.1:${port}` } });
    assert.equal(await program.ended(), 1);
    assert.match(program.errors, new RegExp(`Cannot listen on 127.0.0.1:${port}: .*EADDRINUSE`));
    other.close();
  });

  it("does not take the socket of a server that is alive", async () => {
    await start().serving();
    const second = start({ store: "memory:" });
    assert.equal(await second.ended(), 1);
    assert.match(second.errors, /api\.sock/);
  });

  it("serves this machine in the clear only when it is told to, and nothing but this machine", async () => {
    const port = await freePort();
    await start({}, ["--insecure-loopback", `127.0.0.1:${port}`]).serving();
    using connection = connect({ server: `127.0.0.1:${port}` });
    assert.equal((await connection.client(NamespaceServiceDefinition).listNamespaces(page)).namespaces.length, 1);
    const wrong = start({}, [`--insecure-loopback=0.0.0.0:${port}`]);
    assert.equal(await wrong.ended(), 2);
    assert.match(wrong.errors, /listen\.insecureLoopback: must be a loopback address/);
  });

  it("wants an authority for every listener that is not this machine's", async () => {
    for (const listen of [{ public: "0.0.0.0:1" }, { agents: "0.0.0.0:1" }, { enrolment: "127.0.0.1:1" }]) {
      const program = start({ listen });
      assert.equal(await program.ended(), 2);
      assert.match(program.errors, /pki: is required with listen\.public/);
    }
  });

  it("refuses a wrong configuration with the path, and exits 2", async () => {
    const program = start({ listen: { insecureLoopback: "0.0.0.0:7443", tcp: "127.0.0.1:1" }, leaseMs: "soon", colour: "red", pki: { directory: "pki" } });
    assert.equal(await program.ended(), 2);
    for (const path of ["listen.insecureLoopback", "listen.tcp", "leaseMs", "colour", "pki.directory"]) assert.match(program.errors, new RegExp(path.replace(".", "\\.")));
  });
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}
