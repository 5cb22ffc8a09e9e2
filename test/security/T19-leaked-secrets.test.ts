/** T19: whoever reads what lies about: logs, answers, lists of processes, files, what a crash leaves. No secret of Drover's is in it. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { ClientError, Metadata } from "nice-grpc";
import { EnrolmentServiceDefinition } from "../../gen/drover/agent/v1/enrolment.ts";
import { parseJoinToken } from "../../lib/pki/join-token.ts";
import { newRequest } from "../../lib/pki/keys.ts";
import { Secret } from "../../lib/secret.ts";
import { bearer, EVERYTHING, ONCE } from "../contract/auth-server.ts";
import { machineOf, startInstalled, withUserData } from "./server.ts";
import type { Installed } from "./server.ts";

const USER_DATA = "canary-cloud-init-6f21";
const WRONG = "dst1.robot.canarycanarycanarycanarycanarycanarycanarycanary1234";

describe("T19: secrets that lie about", function () {
  this.timeout(60_000);
  let server: Installed;
  /** By what they are: texts of which no trace may be found. */
  const secrets = new Map<string, string>();
  const shown: string[] = [];
  before(async () => {
    server = await startInstalled();
    const { admin } = server;
    const note = async (attempt: Promise<unknown>) => void shown.push(inspect(await attempt.catch((error: unknown) => (error instanceof ClientError ? [error.message, error] : error)), { depth: 12 }));
    const [used, unused] = [await server.token("a"), await server.token("b")];
    secrets.set("a join token", parseJoinToken(used)!.secret).set("an unused join token", parseJoinToken(unused)!.secret).set("a wrong token", WRONG.slice(-52));
    const [agent, migration] = await Promise.all([newRequest(), newRequest()]);
    secrets.set("an agent's key", keyOf(agent.keyPem)).set("QEMU's key", keyOf(migration.keyPem)).set("the authority's key", keyOf(readFileSync(join(server.pki, "ca.key"), "utf8")));
    const enrolment = server.open(server.addresses.enrolment, { ca: server.ca }).client(EnrolmentServiceDefinition);
    const csrs = { csrPem: agent.csrPem, migrationCsrPem: migration.csrPem };
    for (const attempt of [{ token: unused, csrPem: "x", migrationCsrPem: "x" }, { token: used, ...csrs }, { token: used, ...csrs }, { token: `${unused} `, ...csrs, csrPem: agent.keyPem }]) await note(enrolment.enroll(attempt));
    const { token } = await admin.auth.createServiceToken({ name: "robot", role: "viewer", namespaces: [], ttlSeconds: 0, ...ONCE });
    secrets.set("a service token", token.slice("dst1.robot.".length));
    const robot = server.public({ ca: server.ca });
    for (const [sent, times] of [[token, 1], [WRONG, 1], [token, 2]] as const) {
      const metadata = Metadata();
      for (let i = 0; i < times; i += 1) metadata.append("authorization", `Bearer ${sent}`);
      await note(robot.auth.whoAmI({}, { metadata }));
      await note(robot.machines.startVirtualMachine({ ...ONCE, namespace: "", name: "none" }, bearer(sent)));
    }
    secrets.set("cloud-init's data", USER_DATA);
    await note(admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf("web", { spec: withUserData(USER_DATA) }) }));
    await note(admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf("Wrong", { spec: withUserData(USER_DATA) }) }));
    await note(admin.nodes.listNodes(EVERYTHING));
    await note(admin.auth.listServiceTokens({ pageSize: 0, pageToken: "" }));
    await note(admin.events.listEvents(EVERYTHING));
    await note(admin.audit.listAuditEntries({ filter: undefined, pageSize: 500, pageToken: "" }));
  });
  after(() => server?.[Symbol.asyncDispose]());

  const assertClean = (text: string, where: string) => {
    for (const [what, secret] of secrets) {
      for (const form of [secret, Buffer.from(secret).toString("base64").slice(0, -4), Buffer.from(secret).toString("hex")]) assert.equal(text.includes(form), false, `${what} is in ${where}`);
    }
  };

  it("are in no answer and no refusal, but the one that makes them", () => {
    assert.ok(shown.length > 12);
    for (const answer of shown) assertClean(answer, answer.slice(0, 200));
  });

  it("are not in the log at its most talkative", () => {
    assert.ok(server.log().includes("a token was refused"));
    assertClean(server.log(), "the log");
  });

  it("are in neither the words nor the environment of a process that everybody on the host can list", () => {
    for (const file of ["cmdline", "environ"]) assertClean(readFileSync(`/proc/${server.program.pid}/${file}`, "latin1"), file);
  });

  it("stand in no file but the keys' own, which are for their owner alone", () => {
    for (const entry of readdirSync(server.directory, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (!entry.isFile()) continue;
      if (entry.name.endsWith(".key")) assert.equal(statSync(path).mode & 0o077, 0, path);
      else assertClean(readFileSync(path, "latin1"), path);
    }
    assert.ok(readdirSync(server.pki).includes("secrets.key"), "what closes the store's secrets is not in the store");
    assert.equal(statSync(server.unix).mode & 0o077, 0, "the local administrator's socket");
  });

  it("are not in what a crash leaves, and what was closed opens again", async () => {
    await server.restart(() => undefined, "SIGABRT");
    assertClean(server.log(), "the log of a server that was aborted");
    assertClean(readdirSync(process.cwd()).filter((name) => /^(report|core|.*\.heapsnapshot)/.test(name)).join(), "a dump");
    const { virtualMachine } = await server.admin.machines.getVirtualMachine({ namespace: "default", name: "web" });
    const [volume] = virtualMachine!.spec!.template!.spec!.volumes;
    assert.ok(volume?.source?.$case === "cloudInitNoCloud" && volume.source.value.userData!.digest !== "");
  });

  it("print as stars, however they are printed", () => {
    const secret = new Secret("canary");
    for (const text of ["".concat(secret as never), JSON.stringify({ secret }), inspect({ secret }, { showHidden: true }), String(secret)]) assert.doesNotMatch(text, /canary/);
    assert.equal(secret.reveal(), "canary");
  });
});

/** A line from the middle of a key: enough to know it by. */
const keyOf = (pem: string): string => pem.split("\n")[1]!;
