/** The frame around every call: deadline, request ids, faults. */
import assert from "node:assert/strict";
import type { CallContext, ServerMiddlewareCall } from "nice-grpc-common";
import { Metadata } from "nice-grpc-common";
import { NamespaceServiceDefinition } from "../../../../gen/drover/v1/namespace.ts";
import { DeadlineExceeded } from "../../../../lib/clock.ts";
import { InvalidArgument, PermissionDenied } from "../../../../lib/errors.ts";
import type { Authorizer } from "../../../../api-server/auth/authorizer.ts";
import { callContext } from "../../../../api-server/interceptors/call.ts";
import { shapesOf } from "../../../../api-server/interceptors/shapes.ts";
import type { Call, Caller, WithCall } from "../../../../api-server/objects.ts";
import { ManualClock } from "../sessions/manual-clock.ts";
import { admin, countingRandom, rules, schema } from "../fixture.ts";

const authorizer: Authorizer = {
  decide: async ({ role }) => ({ allowed: role === "admin", reason: "" }),
  scopes: async () => [],
  onChange: () => () => undefined,
};
const shapes = shapesOf([NamespaceServiceDefinition], schema);

/** Runs one unary call; `handle` gets what a handler would. */
function run(method: string, request: object, handle: (call: Call) => Promise<unknown>, caller: Caller = admin) {
  const clock = new ManualClock();
  const middleware = callContext({ shapes, rules, clock, random: countingRandom(), callerOf: () => caller, authorizer, admit: () => ({ [Symbol.dispose]: () => undefined }) });
  const path = `/drover.v1.NamespaceService/${method}`;
  const context = { metadata: Metadata(), signal: new AbortController().signal, peer: "test" } as unknown as CallContext;
  const next = (_request: unknown, { call }: CallContext & WithCall) => ({
    next: async () => ({ done: true, value: await handle(call) }),
  });
  const call = { method: { path, options: {}, requestStream: false, responseStream: false }, requestStream: false, request, responseStream: false, next };
  const answer = middleware(call as unknown as ServerMiddlewareCall<unknown, unknown, WithCall>, context).next().then(({ value }) => value as unknown);
  return { clock, answer };
}

const made = (request: object) => run("DeleteNamespace", { namespace: "", name: "a", uid: "", resourceVersion: "", requestId: "", validateOnly: false, ...request }, async (call) => call).answer as Promise<Call>;

describe("the frame around a call", () => {
  it("ends a call at its deadline, whatever the handler does", async () => {
    const begun = Promise.withResolvers<void>();
    const { clock, answer } = run("GetNamespace", { name: "a" }, () => {
      begun.resolve();
      return new Promise(() => undefined);
    });
    await begun.promise;
    clock.pass(29_999);
    clock.pass(2);
    await assert.rejects(answer, DeadlineExceeded);
  });

  it("hashes the request without its id, and makes an id where none was given", async () => {
    const [first, same, other, none] = await Promise.all([made({ requestId: "x" }), made({ requestId: "y" }), made({ requestId: "x", uid: "u" }), made({})]);
    assert.deepEqual([first.bodyHash === same.bodyHash, first.bodyHash === other.bodyHash], [true, false]);
    assert.deepEqual([first.requestId, first.repeatable, none.repeatable], ["x", true, false]);
    assert.notEqual(none.requestId, "");
  });

  it("leaves reads without an id", async () => {
    const call = (await run("GetNamespace", { name: "a" }, async (each) => each).answer) as Call;
    assert.deepEqual([call.requestId, call.repeatable], ["", false]);
  });

  it("refuses a malformed request before the handler, and hands on what stands beside an object", async () => {
    await assert.rejects(made({ name: "" }), InvalidArgument);
    const request = { namespace: { metadata: undefined }, requestId: "a b", validateOnly: false };
    const call = (await run("CreateNamespace", request, async (each) => each).answer) as Call;
    assert.deepEqual(call.faults?.map(({ path }) => path), ["request_id"]);
  });

  it("asks for the right first", async () => {
    for (const caller of [{ subject: "node/a", role: "node", node: "a" }, { subject: "user/a", role: "user" }] as const) {
      await assert.rejects(run("DeleteNamespace", { name: "" }, async () => undefined, caller).answer, PermissionDenied);
    }
  });
});
