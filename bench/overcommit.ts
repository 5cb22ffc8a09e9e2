/** Nodes that take as many machines as a benchmark makes. */
import { NodeServiceDefinition, NodeSpec } from "../gen/drover/v1/node.ts";
import { connect } from "../lib/client.ts";

const CPU_ALLOCATION_RATIO = 100;

export async function overcommit(server: string): Promise<void> {
  using connection = connect({ server });
  const nodes = connection.client(NodeServiceDefinition);
  const page = await nodes.listNodes({ pageSize: 0, pageToken: "", labelSelector: "", fieldSelector: "" });
  for (const node of page.nodes) {
    const spec = { ...(node.spec ?? NodeSpec.create()), cpuAllocationRatio: CPU_ALLOCATION_RATIO };
    // The agent's reports change the record meanwhile.
    const metadata = { ...node.metadata!, resourceVersion: "" };
    await nodes.updateNode({ node: { ...node, metadata, spec }, updateMask: ["spec.cpu_allocation_ratio"], requestId: "", validateOnly: false });
  }
}
