/** Who gets in on the public listener, as whom, and what is said to everybody else. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { Client, credentials, Metadata as GrpcMetadata } from "@grpc/grpc-js";
import { readFileSync, writeFileSync } from "node:fs";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { Status } from "nice-grpc";
import { newRequest } from "../../lib/pki/keys.ts";
import { refusal } from "./api-process.ts";
import { bearer, binding, clientsOf, EVERYTHING, group, ONCE, role, startAuthServer, user, WATCH } from "./auth-server.ts";
import type { AuthServer, Clients } from "./auth-server.ts";

async function refusedAs(code: string, attempt: Promise<unknown>, reason?: string) {
  const answer = await refusal(attempt);
  assert.deepEqual([answer.code, reason ?? answer.reason], [code, answer.reason], answer.message);
  return answer;
}

/** Calls the path with these bytes; answers the status. */
const probe = (server: AuthServer, path: string, own?: { cert: string; key: string }) => new Promise<string>((resolve) => {
  const pair = own ? [readFileSync(own.key), readFileSync(own.cert)] : [];
  const client = new Client(server.address, credentials.createSsl(readFileSync(server.ca), ...pair));
  const done = (error: { code?: number } | null) => {
    client.close();
    resolve(Status[error?.code ?? 0]!);
  };
  client.makeUnaryRequest(path, (bytes: Buffer) => bytes, (bytes) => bytes, Buffer.alloc(0), new GrpcMetadata(), {}, done);
});

describe("the public listener", function () {
  this.timeout(30_000);
  let server: AuthServer;
  before(async () => (server = await startAuthServer()));
  after(() => server?.[Symbol.asyncDispose]());

  it("knows users by their certificates, with groups", async () => {
    const alice = await server.as("alice", ["ops", "dev"]);
    const { subject, role, groups, expireTime } = await alice.auth.whoAmI({});
    assert.deepEqual([subject, role, groups], ["user/alice", "user", ["ops", "dev"]]);
    assert.ok(expireTime! > new Date());
    const { subject: local, role: localRole } = await server.admin.auth.whoAmI({});
    assert.deepEqual([local, localRole], ["local", "admin"]);
  });

  it("says the same to everybody whom it does not know, and says why to nobody", async () => {
    const wrong = ["", "x", "dst1.ci.x", `dst1.ci.${"0".repeat(52)}`, `dst1.${"a".repeat(63)}.${"0".repeat(52)}`, "a.b.c", "eyJhbGciOiJub25lIn0.e30."];
    const answers = [
      await refusal(server.stranger.auth.whoAmI({})),
      ...(await Promise.all(wrong.map((token) => refusal(server.stranger.auth.whoAmI({}, bearer(token)))))),
      await refusal(server.stranger.auth.whoAmI({}, { metadata: bearer("x").metadata.append("authorization", "Bearer y") })),
    ];
    assert.equal(new Set(answers.map(({ code, message }) => `${code} ${message}`)).size, 1, JSON.stringify(answers));
    assert.equal(answers[0]!.code, "UNAUTHENTICATED");
  });

  it("knows the controller by its certificate, and takes nobody for it who says so in a header", async () => {
    const [cert, key] = ["controller.pem", "controller.key"].map((name) => `${server.directory}/pki/${name}`) as [string, string];
    const controller = clientsOf(server.connect({ ca: server.ca, cert, key }));
    assert.deepEqual((({ subject, role }) => [subject, role])(await controller.auth.whoAmI({})), ["controller", "control-plane"]);
    const { metadata } = bearer("x");
    for (const header of ["x-drover-peer", "x-drover-node"]) metadata.set(header, Buffer.from('{"kind":"controller"}').toString("base64url"));
    await refusedAs("UNAUTHENTICATED", server.stranger.auth.whoAmI({}, { metadata }));
  });

  it("refuses two credentials at once", async () => {
    const { token } = await server.admin.auth.createServiceToken({ ...ONCE, name: "both", role: "viewer", namespaces: [], ttlSeconds: 0 });
    const alice = await server.as("alice");
    assert.ok(await server.stranger.auth.whoAmI({}, bearer(token)));
    await refusedAs("UNAUTHENTICATED", alice.auth.whoAmI({}, bearer(token)));
  });

  it("keeps health open and the description of the API for callers with an identity", async () => {
    const reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    assert.equal(await probe(server, "/grpc.health.v1.Health/Check"), "OK");
    assert.equal(await probe(server, reflection), "UNAUTHENTICATED");
    assert.notEqual(await probe(server, reflection, await server.certificate("reader")), "UNAUTHENTICATED");
  });

  it("takes tokens of a configured issuer", async () => {
    const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), kid: "k", alg: "ES256" };
    const issuer = createServer((_request, response) => response.end(JSON.stringify({ keys: [jwk] }))).listen(0, "127.0.0.1");
    await once(issuer, "listening");
    const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
    await using own = await startAuthServer({ oidc: [{ issuer: url, audience: "drover", jwks: `${url}/keys`, usernamePrefix: "oidc:" }] });
    const token = await new SignJWT({ groups: ["ops"] }).setProtectedHeader({ alg: "ES256", kid: "k" })
      .setIssuer(url).setAudience("drover").setSubject("alice").setIssuedAt().setExpirationTime("1h").sign(privateKey);
    const { subject, groups } = await own.stranger.auth.whoAmI({}, bearer(token));
    assert.deepEqual([subject, groups], ["user/oidc:alice", ["ops"]]);
    await refusedAs("PERMISSION_DENIED", own.stranger.machines.listVirtualMachines(EVERYTHING, bearer(token)));
    await own.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("ops", { role: "viewer", subjects: [group("ops")] }) });
    assert.ok(await own.stranger.machines.listVirtualMachines(EVERYTHING, bearer(token)));
    await refusedAs("UNAUTHENTICATED", server.stranger.auth.whoAmI({}, bearer(token)));
    issuer.close();
  });

  it("ends a stream with the credential that it was opened by", async () => {
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("short", { role: "viewer", subjects: [user("short")] }) });
    const short = await server.as("short", [], 3_000);
    const watch = short.machines.watchVirtualMachines(WATCH)[Symbol.asyncIterator]();
    await watch.next();
    await refusedAs("ABORTED", drained(watch), "CREDENTIAL_EXPIRED");
  });
});

describe("credentials that Drover gives out", function () {
  this.timeout(30_000);
  let server: AuthServer;
  let viewer: Clients;
  before(async () => {
    server = await startAuthServer();
    viewer = await server.as("vera");
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("vera", { role: "viewer", subjects: [user("vera")] }) });
  });
  after(() => server?.[Symbol.asyncDispose]());

  const token = { ...ONCE, name: "ci", role: "viewer", namespaces: ["default"], ttlSeconds: 3600 };

  it("service tokens are shown once, act in their namespaces, and end at once when they are revoked", async () => {
    const { token: secret, serviceToken } = await server.admin.auth.createServiceToken({ ...token, requestId: "ci-1" });
    const { subject, expireTime } = await server.stranger.auth.whoAmI({}, bearer(secret));
    assert.deepEqual([subject, expireTime], ["token/ci", serviceToken!.spec!.expireTime]);
    assert.ok(await server.stranger.machines.listVirtualMachines({ ...EVERYTHING, namespace: "default" }, bearer(secret)));
    await refusedAs("PERMISSION_DENIED", server.stranger.machines.listVirtualMachines({ ...EVERYTHING, namespace: "other" }, bearer(secret)));
    await refusedAs("PERMISSION_DENIED", server.stranger.nodes.listNodes(EVERYTHING, bearer(secret)));
    await refusedAs("ALREADY_EXISTS", server.admin.auth.createServiceToken({ ...token, requestId: "ci-1" }), "TOKEN_SHOWN_ONCE");
    await refusedAs("ALREADY_EXISTS", server.admin.auth.createServiceToken(token), "ALREADY_EXISTS");
    await refusedAs("UNAUTHENTICATED", server.stranger.auth.whoAmI({}, bearer(`${secret.slice(0, -1)}${secret.endsWith("0") ? "1" : "0"}`)));
    const watch = server.stranger.machines.watchVirtualMachines({ ...WATCH, namespace: "default" }, bearer(secret))[Symbol.asyncIterator]();
    await watch.next();
    await server.admin.auth.revokeServiceToken({ name: "ci", requestId: "" });
    await refusedAs("UNAUTHENTICATED", server.stranger.auth.whoAmI({}, bearer(secret)));
    await refusedAs("ABORTED", drained(watch), "ACCESS_CHANGED");
    await refusedAs("NOT_FOUND", server.admin.auth.revokeServiceToken({ name: "ci", requestId: "" }));
  });

  it("service tokens leave no trace of their secret, in lists or in the store", async () => {
    const { token: secret } = await server.admin.auth.createServiceToken({ ...token, name: "hidden" });
    const { serviceTokens } = await server.admin.auth.listServiceTokens({ pageSize: 0, pageToken: "" });
    assert.deepEqual(serviceTokens.find(({ metadata }) => metadata?.name === "hidden")!.status, undefined);
    const { items } = await server.store.list("");
    const tail = secret.split(".")[2]!;
    assert.equal(items.some(({ value }) => Buffer.from(value).includes(tail)), false);
  });

  it("service tokens are made by whoever has the rights, in the right form, and not in a trial", async () => {
    await refusedAs("PERMISSION_DENIED", viewer.auth.createServiceToken({ ...token, name: "mine" }));
    await server.admin.roles.createRole({ ...ONCE, role: role("token-maker", { verbs: ["create"], kinds: ["ServiceToken"] }) });
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("maker", { role: "token-maker", subjects: [user("vera")] }) });
    await refusedAs("PERMISSION_DENIED", viewer.auth.createServiceToken({ ...token, name: "mine", role: "operator" }), "ESCALATION");
    await refusedAs("FAILED_PRECONDITION", viewer.auth.createServiceToken({ ...token, name: "mine", role: "nothing" }), "ROLE_NOT_FOUND");
    assert.ok((await viewer.auth.createServiceToken({ ...token, name: "mine" })).token);
    const trial = await server.admin.auth.createServiceToken({ ...token, name: "trial", validateOnly: true });
    assert.equal(trial.token, "");
    for (const wrong of [{ name: "A.b" }, { name: "" }, { ttlSeconds: 59 }, { ttlSeconds: 90 * 86_400 + 1 }, { namespaces: ["_"] }]) {
      await refusedAs("INVALID_ARGUMENT", server.admin.auth.createServiceToken({ ...token, name: "wrong", ...wrong }));
    }
  });

  it("certificates for users are for whoever may do everything, and name whom the request says and not the CSR", async () => {
    const { keyPem, csrPem } = await newRequest();
    const request = { csrPem, user: "carol", groups: ["ops"], ttlSeconds: 600 };
    await refusedAs("PERMISSION_DENIED", viewer.auth.signUserCertificate(request));
    await server.admin.roles.createRole({ ...ONCE, role: role("signer", { verbs: ["create"], kinds: ["UserCertificate"] }) });
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("signer", { role: "signer", subjects: [user("vera")] }) });
    await refusedAs("PERMISSION_DENIED", viewer.auth.signUserCertificate(request), "ESCALATION");
    const { certificatePem, caPem } = await server.admin.auth.signUserCertificate(request);
    const [ca, cert, key] = ["c.ca", "c.pem", "c.key"].map((name) => `${server.directory}/${name}`) as [string, string, string];
    for (const [path, text] of [[ca, caPem], [cert, certificatePem], [key, keyPem]] as const) writeFileSync(path, text);
    const { subject, groups } = await clientsOf(server.connect({ ca, cert, key })).auth.whoAmI({});
    assert.deepEqual([subject, groups], ["user/carol", ["ops"]]);
    const lines = csrPem.split("\n");
    const tampered = lines.with(2, lines[2]!.split("").reverse().join("")).join("\n");
    for (const wrong of [{ csrPem: "x" }, { user: "a/b" }, { user: "" }, { groups: ["a,b"] }, { ttlSeconds: 86_401 }, { csrPem: tampered }]) {
      await refusedAs("INVALID_ARGUMENT", server.admin.auth.signUserCertificate({ ...request, ...wrong }));
    }
  });
});

/** Reads on until the stream ends, which it must not do well. */
async function drained(stream: AsyncIterator<unknown>): Promise<void> {
  while (!(await stream.next()).done);
}
