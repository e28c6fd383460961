// clients.js: kafkajs, which never speaks flexible versions: create, produce, consume in a group, offsets, delete.
const { Kafka, CompressionTypes, logLevel } = require('kafkajs');

async function main() {
  const kafka = new Kafka({ clientId: 'js', brokers: [process.env.BOOTSTRAP], logLevel: logLevel.ERROR });
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: 'js', numPartitions: 3 }], waitForLeaders: true });
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let i = 0; i < 10; i++) {
    const messages = [];
    for (let j = 0; j < 100; j++) messages.push({ key: `k${j}`, value: `v${i * 100 + j}`, headers: { h: 'x' } });
    await producer.send({ topic: 'js', messages, compression: i % 2 ? CompressionTypes.GZIP : CompressionTypes.None });
  }
  await producer.disconnect();
  const consumer = kafka.consumer({ groupId: 'js-group' });
  await consumer.connect();
  await consumer.subscribe({ topic: 'js', fromBeginning: true });
  const seen = new Set();
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`saw ${seen.size} of 1000`)), 60000).unref();
    consumer.run({
      eachMessage: async ({ message }) => {
        seen.add(message.value.toString());
        if (seen.size === 1000) resolve();
      },
    });
  });
  await consumer.disconnect();
  const ends = await admin.fetchTopicOffsets('js');
  const total = ends.reduce((n, p) => n + Number(p.high), 0);
  if (total !== 1000) throw new Error(`sum of ends ${total}`);
  const groups = await admin.describeGroups(['js-group']);
  if (groups.groups.length !== 1) throw new Error('describe');
  await admin.deleteGroups(['js-group']);
  await admin.deleteTopics({ topics: ['js'] });
  await admin.disconnect();
  console.log('ok');
}
main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
