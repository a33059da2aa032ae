//! The Redis Cluster that tests break.

use groundwork_dev::RedisCluster;

use crate::harness::until;

#[tokio::test]
async fn a_replica_takes_the_place_of_a_killed_primary() {
    let mut cluster = RedisCluster::start().await.expect("it starts");
    assert_eq!(cluster.urls().len(), 6);
    let before = cluster.primaries().await;
    assert_eq!(before.len(), 3);
    let killed = before[0];
    cluster.kill(killed);
    until("a replica is promoted", async || {
        let now = cluster.primaries().await;
        now.len() == 3 && !now.contains(&killed)
    })
    .await;
    cluster.is_whole().await.expect("every slot is served");
    cluster.restart(killed).await.expect("it starts again");
    cluster.is_whole().await.expect("it follows");
    assert!(!cluster.primaries().await.contains(&killed));
}
