"""Names that results have in common: of metrics, and of the splits of meta-tasks."""

RETURN_MEAN, SUCCESS_RATE, RETURN_BY_TASK, ENV_STEPS = "return_mean", "success_rate", "return_by_task", "env_steps"
FINISHED_EPISODES = "finished_episodes"  # on the way from env runners to the algorithm, which takes it out

# The order of rows and figures; others follow by name.
SPLITS = ("train", "moderate", "extreme", "super_extreme", "test")
USUAL_SPLITS = ("train", "moderate", "extreme", "test")  # what evaluation during training plays
OWN_SPLIT = "own"  # the tasks of an `env_config`, and environments without splits
