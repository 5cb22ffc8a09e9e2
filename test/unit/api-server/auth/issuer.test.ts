/** Tokens of an OIDC issuer that is really there: it serves its discovery document and its keys, and signs. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import type { CryptoKey, JWK } from "jose";
import * as v from "valibot";
import { authSchema } from "../../../../api-server/auth/config.ts";
import { Issuer } from "../../../../api-server/auth/issuer.ts";
import { ManualClock } from "../sessions/manual-clock.ts";

type Key = { kid: string; alg: string; privateKey: CryptoKey; publicKey: CryptoKey; jwk: JWK };

async function newKey(kid: string, alg = "ES256"): Promise<Key> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

/** What the issuer answers can be changed while it runs. */
async function openIssuer() {
  const answers = { keys: [] as JWK[], asked: 0, broken: false, document: undefined as object | undefined, padding: 0, raw: "", silent: false };
  const server = createServer((request, response) => {
    if (answers.silent) return;
    if (answers.broken) return void response.writeHead(500).end();
    if (request.url === "/.well-known/openid-configuration") return void response.end(JSON.stringify(answers.document ?? { issuer: url, jwks_uri: `${url}/keys` }));
    answers.asked += 1;
    response.end(answers.raw || JSON.stringify({ keys: answers.keys, padding: "x".repeat(answers.padding) }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url, answers,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const AUDIENCE = "drover";

describe("tokens of an issuer", () => {
  const clock = () => new ManualClock();
  const configured = (issuer: string, more: object = {}) => v.parse(authSchema, { oidc: [{ issuer, audience: AUDIENCE, ...more }] }).oidc[0]!;
  const seconds = (time: ManualClock, after: number) => Math.floor(time.now().getTime() / 1000) + after;

  async function signed(time: ManualClock, issuer: string, { kid, alg, privateKey }: Key, claims: Record<string, unknown> = {}) {
    const base = { iss: issuer, aud: AUDIENCE, sub: "alice", iat: seconds(time, 0), exp: seconds(time, 3600), groups: ["ops", "dev"] };
    const all = Object.fromEntries(Object.entries({ ...base, ...claims }).filter(([, value]) => value !== undefined));
    return new SignJWT(all).setProtectedHeader({ alg, kid }).sign(privateKey);
  }

  it("make a user with its groups, by discovery, and are verified once", async () => {
    await using server = await openIssuer();
    const [time, key] = [clock(), await newKey("one")];
    server.answers.keys = [key.jwk];
    const issuer = new Issuer(configured(server.url), time);
    const token = await signed(time, server.url, key);
    const caller = await issuer.callerOf(token);
    assert.deepEqual(caller, { subject: "user/alice", role: "user", groups: ["ops", "dev"], expireTime: new Date(seconds(time, 3600) * 1000) });
    assert.equal(await issuer.callerOf(token), caller);
    assert.equal(server.answers.asked, 1);
    time.pass(3_700_000);
    await assert.rejects(issuer.callerOf(token), /exp/);
  });

  it("are taken with every allowed kind of key, from a file too", async () => {
    const directory = mkdtempSync(join(tmpdir(), "drover-jwks-"));
    const keys = await Promise.all(["RS256", "PS384", "ES384", "EdDSA"].map((alg) => newKey(alg, alg)));
    const file = join(directory, "keys.json");
    writeFileSync(file, JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }));
    const time = clock();
    const issuer = new Issuer(configured("https://id.example.org", { jwks: file }), time);
    for (const key of keys) assert.equal((await issuer.callerOf(await signed(time, "https://id.example.org", key))).subject, "user/alice");
    rmSync(directory, { recursive: true });
  });

  it("are refused for any claim that is wrong or absent", async () => {
    await using server = await openIssuer();
    const [time, key] = [clock(), await newKey("one")];
    server.answers.keys = [key.jwk];
    const issuer = new Issuer(configured(server.url), time);
    const wrong: Record<string, unknown>[] = [
      { aud: "other" }, { aud: undefined }, { iss: "https://evil.example.org" }, { iss: undefined },
      { exp: seconds(time, -60) }, { exp: undefined }, { nbf: seconds(time, 600) }, { iat: undefined },
      { sub: undefined }, { sub: "" }, { sub: 7 }, { sub: "a b" }, { sub: "a\nb" }, { sub: "x".repeat(300) },
      { groups: { a: 1 } }, { groups: Array.from({ length: 300 }, (_, i) => `g${i}`) },
    ];
    for (const claims of wrong) await assert.rejects(signed(time, server.url, key, claims).then((token) => issuer.callerOf(token)), Error, JSON.stringify(claims));
    assert.ok(await issuer.callerOf(await signed(time, server.url, key, { iat: undefined, nbf: seconds(time, 0) })));
  });

  it("are refused when nobody signed them, when the public key was the secret, and when another key signed", async () => {
    await using server = await openIssuer();
    const [time, key, foreign] = [clock(), await newKey("one", "RS256"), await newKey("one", "RS256")];
    server.answers.keys = [key.jwk];
    const issuer = new Issuer(configured(server.url), time);
    const claims = { iss: server.url, aud: AUDIENCE, sub: "alice", iat: seconds(time, 0), exp: seconds(time, 3600) };
    const secrets = [Buffer.from(await exportSPKI(key.publicKey)), Buffer.from(JSON.stringify(key.jwk))];
    const symmetric = await Promise.all(secrets.map((secret) => new SignJWT(claims).setProtectedHeader({ alg: "HS256", kid: "one" }).sign(secret)));
    const own = await signed(time, server.url, key);
    const [header, payload, signature] = own.split(".") as [string, string, string];
    const altered = Buffer.from(JSON.stringify({ ...claims, sub: "root" })).toString("base64url");
    const tokens = [
      new UnsecuredJWT(claims).encode(), ...symmetric, await signed(time, server.url, foreign),
      `${header}.${altered}.${signature}`, `${header}.${payload}.`, `${header}.${payload}`, "", "x.y.z",
    ];
    for (const token of tokens) await assert.rejects(issuer.callerOf(token), Error, token);
    assert.ok(await issuer.callerOf(own));
  });

  it("follow the issuer's change of keys, and what a withdrawn key signed ends with it", async () => {
    await using server = await openIssuer();
    const [time, first, second] = [clock(), await newKey("one"), await newKey("two")];
    server.answers.keys = [first.jwk];
    const issuer = new Issuer(configured(server.url), time);
    const old = await signed(time, server.url, first, { exp: seconds(time, 36_000) });
    assert.ok(await issuer.callerOf(old));
    server.answers.keys = [second.jwk];
    const renewed = await signed(time, server.url, second, { exp: seconds(time, 36_000) });
    await assert.rejects(issuer.callerOf(renewed), Error, "keys were just fetched");
    time.pass(11_000);
    assert.ok(await issuer.callerOf(renewed));
    await assert.rejects(issuer.callerOf(old));
  });

  it("ask for keys no more often than the pause allows, whatever tokens come", async () => {
    await using server = await openIssuer();
    const [time, key, foreign] = [clock(), await newKey("one"), await newKey("unknown")];
    server.answers.keys = [key.jwk];
    const issuer = new Issuer(configured(server.url), time);
    const tokens = await Promise.all(Array.from({ length: 50 }, (_, i) => signed(time, server.url, foreign, { sub: `u${i}` })));
    await Promise.allSettled(tokens.map((token) => issuer.callerOf(token)));
    assert.equal(server.answers.asked, 1);
  });

  it("go on under the known keys while the issuer is away, and are refused while there are none", async () => {
    await using server = await openIssuer();
    const [time, key] = [clock(), await newKey("one")];
    server.answers.keys = [key.jwk];
    server.answers.broken = true;
    const issuer = new Issuer(configured(server.url), time);
    const token = await signed(time, server.url, key, { exp: seconds(time, 36_000) });
    await assert.rejects(issuer.callerOf(token), /cannot be had/);
    server.answers.broken = false;
    time.pass(11_000);
    assert.ok(await issuer.callerOf(token));
    server.answers.broken = true;
    time.pass(3_600_000);
    assert.ok(await issuer.callerOf(token));
    assert.ok(await issuer.callerOf(await signed(time, server.url, key)));
    server.answers.broken = false;
    // Nobody waits for keys that are renewed behind an answer: what goes wrong there must not end the process.
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    for (const raw of ["<html>", "{}", "[]", '{"keys":7}', "null"]) {
      server.answers.raw = raw;
      time.pass(3_600_000);
      assert.ok(await issuer.callerOf(await signed(time, server.url, key)), raw);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    process.off("unhandledRejection", note);
    assert.deepEqual(unhandled, []);
  });

  it("take no discovery document of another issuer, and none without end", async () => {
    await using server = await openIssuer();
    const [time, key] = [clock(), await newKey("one")];
    server.answers.keys = [key.jwk];
    const token = await signed(time, server.url, key);
    server.answers.document = { issuer: "https://evil.example.org", jwks_uri: `${server.url}/keys` };
    await assert.rejects(new Issuer(configured(server.url), time).callerOf(token), /cannot be had/);
    server.answers.document = { issuer: server.url, jwks_uri: "http://keys.example.org/" };
    await assert.rejects(new Issuer(configured(server.url), time).callerOf(token), /cannot be had/);
    server.answers.document = undefined;
    server.answers.padding = 300 * 1024;
    await assert.rejects(new Issuer(configured(server.url), time).callerOf(token), /cannot be had/);
  });

  it("do not wait for an issuer that says nothing", async () => {
    await using server = await openIssuer();
    const [time, key] = [clock(), await newKey("one")];
    server.answers.silent = true;
    const refused = assert.rejects(new Issuer(configured(server.url), time).callerOf(await signed(time, server.url, key)), /cannot be had/);
    await new Promise((resolve) => setTimeout(resolve, 100));
    time.pass(5_001);
    await refused;
  });

  it("are named as the configuration says", async () => {
    await using server = await openIssuer();
    const [time, key] = [clock(), await newKey("one")];
    server.answers.keys = [key.jwk];
    const config = configured(server.url, { usernameClaim: "email", groupsClaim: "roles", usernamePrefix: "corp:", groupsPrefix: "corp:" });
    const issuer = new Issuer(config, time);
    const { subject, groups } = await issuer.callerOf(await signed(time, server.url, key, { email: "a@example.org", roles: "ops" }));
    assert.deepEqual([subject, groups], ["user/corp:a@example.org", ["corp:ops"]]);
    await assert.rejects(issuer.callerOf(await signed(time, server.url, key, { email: "a@example.org", email_verified: false })), /not verified/);
  });

  it("need a configuration that keeps issuers apart and keys out of reach of others", () => {
    const refused = (...oidc: object[]) => assert.equal(v.safeParse(authSchema, { oidc }).success, false, JSON.stringify(oidc));
    const [a, b] = [{ issuer: "https://a.example.org", audience: "d" }, { issuer: "https://b.example.org", audience: "d" }];
    refused(a, b);
    refused({ ...a, issuer: "http://a.example.org" });
    refused({ ...a, jwks: "http://a.example.org/keys" });
    refused({ ...a, audience: "" });
    refused({ ...a, usernamePrefix: "x" }, { ...a, usernamePrefix: "y", groupsPrefix: "z" });
    assert.ok(v.safeParse(authSchema, { oidc: [a, { ...b, usernamePrefix: "b:", groupsPrefix: "b:" }] }).success);
  });
});
