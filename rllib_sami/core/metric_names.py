"""Names that results have in common: of metrics, and of the splits of meta-tasks."""

RETURN_MEAN, SUCCESS_RATE, RETURN_BY_TASK, ENV_STEPS = "return_mean", "success_rate", "return_by_task", "env_steps"
FINISHED_EPISODES = "finished_episodes"  # on the way from env runners to the algorithm, which takes it out

SPLITS = ("train", "moderate", "extreme", "super_extreme")  # the order of rows and figures; others follow by name
USUAL_SPLITS = SPLITS[:3]  # what evaluation during training plays
OWN_SPLIT = "own"  # the tasks of an `env_config`, and environments without splits
