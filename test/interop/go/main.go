// main.go: franz-go (with kadm), sarama and kafka-go: create, produce, consume in a group, commit, describe, delete.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	kafka "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const count = 1000

func check(err error, what string) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

func franz(bootstrap string) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	check(err, "franz-go client")
	admin := kadm.NewClient(client)
	_, err = admin.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": kadm.StringPtr("600000")}, "franz")
	check(err, "franz-go create")
	var records []*kgo.Record
	for i := 0; i < count; i++ {
		records = append(records, &kgo.Record{Topic: "franz", Key: []byte(fmt.Sprint("k", i%20)), Value: []byte(fmt.Sprint("v", i))})
	}
	check(client.ProduceSync(ctx, records...).FirstErr(), "franz-go produce")
	reader, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup("franz-group"), kgo.ConsumeTopics("franz"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	check(err, "franz-go reader")
	seen := map[string]bool{}
	for len(seen) < count {
		fetches := reader.PollFetches(ctx)
		check(fetches.Err(), "franz-go poll")
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
	}
	check(reader.CommitUncommittedOffsets(ctx), "franz-go commit")
	lags, err := admin.Lag(ctx, "franz-group")
	check(err, "franz-go lag")
	lags.Each(func(l kadm.DescribedGroupLag) {
		check(l.Error(), "franz-go lag")
		if l.Lag.Total() != 0 {
			check(fmt.Errorf("%d", l.Lag.Total()), "franz-go: lag")
		}
	})
	ends, err := admin.ListEndOffsets(ctx, "franz")
	check(err, "franz-go ends")
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	if total != count {
		check(fmt.Errorf("%d", total), "franz-go: sum of ends")
	}
	reader.Close()
	_, err = admin.DeleteGroups(ctx, "franz-group")
	check(err, "franz-go delete group")
	_, err = admin.DeleteTopics(ctx, "franz")
	check(err, "franz-go delete")
	client.Close()
	fmt.Println("franz-go ok")
}

type handler struct {
	mutex sync.Mutex
	seen  map[string]bool
	done  chan struct{}
}

func (h *handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (h *handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			h.mutex.Lock()
			h.seen[string(m.Value)] = true
			if len(h.seen) == count {
				close(h.done)
			}
			h.mutex.Unlock()
			session.MarkMessage(m, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func saramaVersion(bootstrap string, version sarama.KafkaVersion) {
	topic := "sarama-" + version.String()
	config := sarama.NewConfig()
	config.Version = version
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Compression = sarama.CompressionSnappy
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, config)
	check(err, "sarama admin")
	check(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false), "sarama create")
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	check(err, "sarama producer")
	var messages []*sarama.ProducerMessage
	for i := 0; i < count; i++ {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(fmt.Sprint("v", i))})
	}
	check(producer.SendMessages(messages), "sarama produce")
	check(producer.Close(), "sarama close")
	group, err := sarama.NewConsumerGroup([]string{bootstrap}, topic+"-group", config)
	check(err, "sarama group")
	h := &handler{seen: map[string]bool{}, done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	go func() {
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{topic}, h); err != nil {
				return
			}
		}
	}()
	select {
	case <-h.done:
	case <-ctx.Done():
		check(fmt.Errorf("%d of %d", len(h.seen), count), "sarama consume")
	}
	cancel()
	check(group.Close(), "sarama group close")
	check(admin.DeleteTopic(topic), "sarama delete")
	check(admin.Close(), "sarama admin close")
	fmt.Println("sarama", version, "ok")
}

func kafkaGo(bootstrap string) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(bootstrap)}
	created, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "kafka-go", NumPartitions: 2, ReplicationFactor: 1}}})
	check(err, "kafka-go create")
	check(created.Errors["kafka-go"], "kafka-go create")
	writer := &kafka.Writer{Addr: kafka.TCP(bootstrap), Topic: "kafka-go", RequiredAcks: kafka.RequireAll, BatchTimeout: 10 * time.Millisecond, Compression: kafka.Lz4}
	var messages []kafka.Message
	for i := 0; i < count; i++ {
		messages = append(messages, kafka.Message{Value: []byte(fmt.Sprint("v", i))})
	}
	check(writer.WriteMessages(ctx, messages...), "kafka-go write")
	check(writer.Close(), "kafka-go close")
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: strings.Split(bootstrap, ","), GroupID: "kafka-go-group", Topic: "kafka-go", StartOffset: kafka.FirstOffset, MaxWait: 200 * time.Millisecond})
	seen := map[string]bool{}
	for len(seen) < count {
		m, err := reader.FetchMessage(ctx)
		check(err, "kafka-go fetch")
		seen[string(m.Value)] = true
		if len(seen)%100 == 0 {
			check(reader.CommitMessages(ctx, m), "kafka-go commit")
		}
	}
	check(reader.Close(), "kafka-go reader close")
	deleted, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{"kafka-go"}})
	check(err, "kafka-go delete")
	check(deleted.Errors["kafka-go"], "kafka-go delete")
	fmt.Println("kafka-go ok")
}

func main() {
	bootstrap := os.Getenv("BOOTSTRAP")
	franz(bootstrap)
	saramaVersion(bootstrap, sarama.V2_1_0_0)
	saramaVersion(bootstrap, sarama.MaxVersion)
	kafkaGo(bootstrap)
}
