DROP TABLE agent_metrics;
