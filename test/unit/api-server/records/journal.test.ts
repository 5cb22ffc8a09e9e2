/** Repeated requests: whose they are. */
import assert from "node:assert/strict";
import { Role } from "../../../../gen/drover/v1/role.ts";
import { roles } from "../../../../api-server/kinds/table.ts";
import { callBy, makeObjects, user } from "../fixture.ts";

describe("ids of requests", () => {
  it("of one subject never meet those of another, whatever is in their names", async () => {
    const { objects } = await makeObjects();
    const by = (name: string, requestId: string) =>
      callBy({ ...user, subject: `user/${name}` }, { requestId, repeatable: true, rpc: "/x", bodyHash: "h" });
    const first = await objects.create(roles, Role.create({ metadata: { name: "one" }, spec: { rules: [] } }), by("x", "y/1"));
    assert.deepEqual(await objects.replayed(roles, by("x", "y/1")), first);
    assert.equal(await objects.replayed(roles, by("x/y", "1")), undefined);
  });
});
