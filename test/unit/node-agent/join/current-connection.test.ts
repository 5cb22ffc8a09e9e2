/** A connection that is replaced under what runs on it, with a real server. */
import assert from "node:assert/strict";
import { NodeAgentServiceDefinition } from "../../../../gen/drover/agent/v1/agent.ts";
import { connect } from "../../../../lib/client.ts";
import { CurrentConnection } from "../../../../node-agent/join/current-connection.ts";
import { Agent, bound, serve } from "../../api-server/sessions/serving.ts";

describe("the current connection", () => {
  it("takes new calls to the new one, and leaves streams where they are", async () => {
    await using server = await serve();
    const { agent: tls } = await server.join(await server.token("a"));
    let dialled = 0;
    using connection = new CurrentConnection(() => {
      dialled += 1;
      return connect({ server: server.portOf("agents"), tls });
    });
    const client = connection.client(NodeAgentServiceDefinition);
    assert.equal(connection.client(NodeAgentServiceDefinition), client, "one is made for all calls");
    const agent = new Agent(client);
    const { sessionId } = await agent.hear("welcome");
    await agent.hear("synced");

    connection.replace();
    assert.equal(dialled, 2);
    assert.notEqual(connection.client(NodeAgentServiceDefinition), client);
    await connection.client(NodeAgentServiceDefinition).renew({ sessionId });
    await bound(server, "a");
    assert.equal((await agent.hear("assignment")).instance!.metadata!.name, "web");
    agent.leave();
  }).timeout(20_000);
});
